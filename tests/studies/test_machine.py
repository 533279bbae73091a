import chainrule
from chainrule.studies import machine as where


def test_it_names_the_engine_and_the_packages_that_are_there():
    found = where.machine("torch", "no-such-package")
    assert found["chainrule"] == chainrule.__version__
    assert found["engine"] in ("avx512", "avx2", "baseline")
    assert found["torch"].startswith("2.")
    assert "no-such-package" not in found
    assert int(found["cores"]) >= 1


def test_the_cpu_has_a_name_with_and_without_a_list_of_the_system(tmp_path, monkeypatch):
    info = tmp_path / "cpuinfo"
    info.write_text("processor\t: 0\ncpu family\t: 26\nmodel\t\t: 2\nmodel name\t: AMD EPYC\n\nprocessor\t: 1\n")
    monkeypatch.setattr(where, "CPUINFO", info)
    assert where.cpu() == "AMD EPYC, family 26, model 2"
    monkeypatch.setattr(where, "CPUINFO", tmp_path / "missing")
    assert where.cpu()
