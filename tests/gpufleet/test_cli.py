"""What the command line says of wrong usage, and that its examples can be copied."""

import pytest

from gpufleet.cli import main


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "gpufleet: the following arguments are required: command; gpufleet --help says more"),
        (["slo"], "gpufleet slo: the following arguments are required: command; gpufleet slo --help says more"),
        (["agent", "--bogus"], "gpufleet agent: unknown: --bogus; gpufleet agent --help says more"),
        (["agent", "--gpu", "none", "more"], "gpufleet agent: unknown: more; gpufleet agent --help says more"),
        (["slo", "budget", "--url", "here"], "argument --url: 'here' is not a URL: write http://host:port; "),
    ],
    ids=" ".join,
)
def test_wrong_usage_names_the_command_and_its_help(words: list[str], told: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert told in said.err


def test_an_example_is_one_line_however_narrow_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("COLUMNS", "60")
    with pytest.raises(SystemExit):
        main(["slo", "exclude", "--help"])
    example = capsys.readouterr().out.splitlines()[-1]
    assert example.startswith("example: gpufleet slo exclude --from ")
    assert example.endswith(" --by ada")
