// What Python says of a thing (an op, a loss, an optimizer): its class's name, and the options that travel, by name. Only
// whoever is made from it reads it, once; what runs keeps numbers.
#pragma once

#include <map>
#include <stdexcept>
#include <string>
#include <vector>

namespace chainrule {

struct Settings {
    std::string kind;
    std::map<std::string, double> numbers;              // booleans are 0 and 1
    std::map<std::string, std::string> words;           // choices, as Python spells them
    std::map<std::string, std::vector<double>> arrays;  // empty: none

    double number(const std::string& name) const { return find(numbers, name); }
    bool flag(const std::string& name) const { return number(name) != 0; }
    const std::string& word(const std::string& name) const { return find(words, name); }
    const std::vector<double>& array(const std::string& name) const { return find(arrays, name); }
    // Whether this was chosen, of a choice that is told only where it is not the usual one.
    bool chose(const std::string& name, const std::string& choice) const {
        const auto at = words.find(name);
        return at != words.end() && at->second == choice;
    }

private:
    template <class Map>
    const typename Map::mapped_type& find(const Map& map, const std::string& name) const {
        const auto at = map.find(name);
        if (at == map.end()) throw std::invalid_argument(kind + ": the plan does not say its " + name);
        return at->second;
    }
};

}  // namespace chainrule
