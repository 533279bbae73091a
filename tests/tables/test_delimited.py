import csv
import io

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainrule.tables import delimited
from chainrule.tables.delimited import read_delimited


def read(data):
    frame, lines, _ = read_delimited("t.csv", data if isinstance(data, bytes) else data.encode())
    return frame.to_dict(as_series=False), lines.tolist()


@pytest.mark.parametrize("separator", delimited.SEPARATORS)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("last", [True, False])
def test_every_separator_and_line_end_is_understood(separator, end, last):
    text = end.join(["a|b|c".replace("|", separator), "1|x|3".replace("|", separator)]) + (end if last else "")
    assert read(text) == ({"a": ["1"], "b": ["x"], "c": ["3"]}, [2])
    assert read_delimited("t", text.encode())[2] == separator


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_unicode_with_or_without_a_mark_is_understood(encoding):
    assert read("größe,ß\n1,ü\n".encode(encoding))[0] == {"größe": ["1"], "ß": ["ü"]}


def test_quoted_fields_hold_separators_quotation_marks_and_line_ends_and_lines_still_count():
    found, lines = read('"a, b",c\n"x ""y""\nz, w",1\r\n\n"",2\n')
    assert found == {"a, b": ['x "y"\nz, w', ""], "c": ["1", "2"]}
    assert lines == [2, 5]


def test_lines_without_anything_are_passed_over_and_still_count():
    assert read("a,b\n\n1,2\n   \n3,4\n\n") == ({"a": ["1", "3"], "b": ["2", "4"]}, [3, 5])
    assert read("a\n1\n\n2\n") == ({"a": ["1", "2"]}, [2, 4])


def test_a_column_without_a_name_is_called_after_its_place():
    assert list(read(",a,\n0,1,2\n")[0]) == ["column 1", "a", "column 3"]


def test_every_field_stays_the_text_that_it_is():
    found, _ = read('a;b;c\n1,5;x,y;01\n-3,25;TRUE;"7,"\n')
    assert found == {"a": ["1,5", "-3,25"], "b": ["x,y", "TRUE"], "c": ["01", "7,"]}


def test_the_separator_is_the_one_that_holds_in_the_lines_below_too():
    assert read("a|b,c|d\n1|2|3\n4|5|6\n")[0] == {"a": ["1", "4"], "b,c": ["2", "5"], "d": ["3", "6"]}


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "t.csv: the file is empty"),
        (b" \n\r\n ", "t.csv: the file is empty"),
        (b"\xef\xbb\xbf", "t.csv: the file is empty"),
        (b"a,b\n", "t.csv: there are names of columns, and no rows below them"),
        (b"a,b", "t.csv: there are names of columns, and no rows below them"),
        (b"a,b\n1,2\n3\n", "t.csv, line 3: must have 2 fields like the names of the columns, got 1: '3'"),
        (b"a,b\n\n1,2\n3,4,5\n6\n", "t.csv, line 4: must have 2 fields .* got 3: '3,4,5'; 2 lines are so"),
        (b'a,b\n"x\ny",2\n3\n', "t.csv, line 4: must have 2 fields .* got 1: '3'"),
        (b"a,b,a\n1,2,3\n", "t.csv, line 1: more than one column is called `a`"),
        (b"\n\n1,2\n3,4\n", "t.csv, line 3: must hold the names of the columns, got the numbers 1,2"),
        (b"a\n1,2\n", "t.csv, line 2: must have 1 field like the name of the column, got 2: '1,2'"),
        (b'a,b\n1,"x\n3,4\n', "t.csv, line 2: a quotation mark is opened, and nothing closes it"),
        ("a,b\n1,2\né,2\n".encode("latin-1"), "t.csv, line 3: the byte 0xe9 is no UTF-8; .* save it as UTF-8"),
        ("a,b\n1,2\n".encode("utf-16-le"), "t.csv, line 1: holds a zero byte: this is no text, or UTF-16 without"),
        (b"\xff\xfea,b\n1", "t.csv: begins like UTF-16, and is none"),
    ],
)
def test_what_is_no_table_is_an_error_that_names_the_line(data, says):
    with pytest.raises(ValueError, match=f"^{says}"):
        read(data)


def test_of_two_separators_that_separate_alike_numbers_decide():
    assert read("T, degC;p\n20,5;1013\n21,5;1000\n")[0] == {"T, degC": ["20,5", "21,5"], "p": ["1013", "1000"]}
    assert read("a;b,c\nx;y,3\ny;y,4\n")[0] == {"a;b": ["x;y", "y;y"], "c": ["3", "4"]}
    both = read("T, degC;p, hPa\n20,5;1013,2\n21,5;1000,1\n")[0]
    assert both == {"T, degC": ["20,5", "21,5"], "p, hPa": ["1013,2", "1000,1"]}
    assert list(read("a;b,c,d\nx;y,z,1\nx;y,z,2\n")[0]) == ["a;b", "c", "d"]
    for text in ("a;b,c\n1;2,3\n", "a;b,c\nx;y,z\n"):
        with pytest.raises(ValueError, match=r"^t\.csv: commas and semicolons separate 2 fields in each line alike"):
            read(text)
    assert read('"a;b",c\n"x;y",z\n')[0] == {"a;b": ["x;y"], "c": ["z"]}


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ('a,b\n1,x"y\n2,z"w\n', "line 2: a quotation mark stands inside a field"),
        ('a,b\n1,2\n2,5" pipe\n3,6" pipe\n', "line 3: a quotation mark stands inside a field"),
        ('a,b\n1, "x,y"\n', "line 2: a quotation mark stands inside a field"),
        ('a,b\n\n"1","x"y\n2,3\n', "line 3: a quotation mark is opened, and the one that closes it is not at the end"),
        ('a,b\n1,"x\n3,4\n5,"y"\n', "line 2: a quotation mark is opened, and the one that closes it in line 4 is not"),
        ('a,b\n1,"x\n\ny"\n3,z"\n', "line 5: a quotation mark stands inside a field"),
        ('a,b\r1,"x\r2,3\r', "line 2: a quotation mark is opened, and nothing closes it"),
        (b"a,b\r1,2\r\xe9,2\r", "line 3: the byte 0xe9 is no UTF-8"),
        (b"a,b\r\n1,2\r\n\0,2\r\n", "line 3: holds a zero byte"),
    ],
)
def test_an_error_names_the_line_where_what_is_wrong_begins(data, says):
    with pytest.raises(ValueError, match=f"^t.csv, {says}"):
        read(data)


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 1000])
def test_records_do_not_depend_on_how_the_bytes_are_cut_into_chunks(monkeypatch, chunk):
    data = b'a,b\n"x\n""1,""",2\n\n3,"4"\n5,"6,\n"'
    whole = delimited._records(data, ",")
    monkeypatch.setattr(delimited, "_CHUNK", chunk)
    cut = delimited._records(data, ",")
    for name in ("begin", "end", "line", "fields"):
        assert getattr(cut, name).tolist() == getattr(whole, name).tolist()
    assert whole.line.tolist() == [1, 2, 4, 5, 6]
    monkeypatch.setattr(delimited, "_CHUNK", chunk)
    assert delimited._records(b'a\n"b\n"c\n"d', ",").open_line == 4


LETTERS = st.text(st.characters(codec="utf-8", exclude_characters="\r\0", exclude_categories=["Cs"]), max_size=6)
FIELDS = LETTERS.filter(lambda text: text == text.strip() and not text.startswith('"'))


@given(st.data(), st.integers(1, 4), st.sampled_from(",;\t"))
def test_what_pythons_own_writer_writes_is_read_as_its_own_reader_reads_it(data, width, separator):
    rows = data.draw(st.lists(st.lists(FIELDS, min_size=width, max_size=width), min_size=1, max_size=6))
    text = io.StringIO()
    writer = csv.writer(text, delimiter=separator, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerows([[f"n{i}" for i in range(width)], *rows])
    frame, lines, _ = read_delimited("t", text.getvalue().encode())
    assert frame.height == len(lines) == len(rows)
    for i, name in enumerate(frame.columns):
        assert frame[name].to_list() == [row[i] for row in rows]


@given(st.binary(max_size=80))
def test_any_bytes_are_a_table_or_an_error_that_names_the_file(data):
    try:
        frame, lines, _ = read_delimited("t.csv", data)
    except ValueError as error:
        assert str(error).startswith("t.csv")  # noqa: PT017 - that there is a ValueError is not demanded
    else:
        assert isinstance(frame, pl.DataFrame)
        assert frame.height == len(lines) > 0


@given(st.text(st.sampled_from('a1,;"\n .'), max_size=40))
def test_any_text_is_a_table_or_an_error_that_names_the_file(text):
    test_any_bytes_are_a_table_or_an_error_that_names_the_file.hypothesis.inner_test(text.encode())


@pytest.mark.parametrize("separator", delimited.SEPARATORS)
def test_a_first_line_for_excel_says_the_separator(separator):
    data = f"sep={separator}\r\na{separator}b\r\n1{separator}2\r\n".encode()
    found, lines, told = read_delimited("t.csv", data)
    assert (found.to_dict(as_series=False), lines.tolist(), told) == ({"a": ["1"], "b": ["2"]}, [3], separator)


def test_a_line_above_the_names_is_what_the_error_is_about():
    for text, line in [("Report\n\na,b\n1,2\n3,4\n", 1), ("\na,b\n1,2,3\n3,4,5\n6,7,8\n", 2)]:
        with pytest.raises(ValueError, match=f"t.csv, line {line}: must hold names of columns, but has"):
            read(text)
    with pytest.raises(ValueError, match="line 2: must have 2 fields"):
        read("a,b\n1,2,3\n3,4\n")


def test_numbers_instead_of_names_are_that_also_where_two_are_the_same():
    with pytest.raises(ValueError, match=r"line 1: must hold the names of the columns, got the numbers 0,0,1\.5"):
        read("0,0,1.5\n1,2,3\n")
