"""The command line as a shell sees it: words in; exit code, two streams and files out."""

from __future__ import annotations

import inspect
import json
import logging
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import zarr
from anndata.io import write_elem

import yoto_sc as yt
from yoto_sc import cli
from yoto_sc.cli._files import MORE_TABLES
from yoto_sc.data import _opening

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from anndata import AnnData

PROGRAM = [sys.executable, "-m", "yoto_sc"]
COMMANDS = [
    "select",
    "predict",
    "evaluate",
    "compare",
    "stability",
    "substitutes",
    "report",
    "demo",
]
ENVIRONMENT = {**os.environ, "COLUMNS": "80", "PYTHONWARNINGS": "default"}
TASKS = ["--categorical-key", "task_0", "--continuous-key", "score_0"]
SELECT = ["select", "data.h5ad", *TASKS, "--n-genes", "5", "-o", "new", "--accelerator", "cpu"]


@pytest.fixture
def folder(
    make_adata: Callable[..., AnnData], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Make the working directory one that holds data, and input that is wrong in several ways."""
    make_adata().write_h5ad(tmp_path / "data.h5ad")
    (tmp_path / "half.h5ad").write_bytes((tmp_path / "data.h5ad").read_bytes()[:20_000])
    (tmp_path / "text.h5ad").write_text("no HDF5")
    (tmp_path / "wrong.toml").write_text("n_gens = 3")
    (tmp_path / "broken.toml").write_text("n_genes = ")
    (tmp_path / "genes.txt").write_text("gene_003\ngene_004\n")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(autouse=True)
def quiet_again() -> Iterator[None]:
    """Give back the log that the command line sets up for its process."""
    logger = logging.getLogger("yoto_sc")
    handlers, level = logger.handlers, logger.level
    yield
    logger.handlers = handlers
    logger.setLevel(level)


def files_in(folder: Path) -> dict[str, float]:
    return {str(path): path.stat().st_mtime for path in sorted(folder.rglob("*"))}


def run(*words: str, cwd: Path | None = None, **environment: str) -> Any:
    return subprocess.run(
        [*PROGRAM, *words],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env={**ENVIRONMENT, **environment},
    )


def parsed(*words: str) -> dict[str, Any]:
    """Return the arguments that a command would work with."""
    command = cli.commands.commands[words[0]]
    return command.make_context(words[0], list(words[1:])).params


# --- help ---


def test_help_and_completion_import_nothing_heavy() -> None:
    code = """
import sys
from yoto_sc.cli import main
assert main(["select", "--help"]) == 0
heavy = {"torch", "scvi", "anndata", "scanpy", "numpy", "pandas", "matplotlib", "yoto_sc.tl"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, capture_output=True)


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)], ids=str)
def test_help_fits_80_columns(
    command: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert cli.main([*command, "--help"]) == 0
    text = capsys.readouterr().out
    assert max(len(line) for line in text.splitlines()) <= 80
    assert "..." not in text.replace("[ARGS]...", "")  # no sentence is cut
    assert text.startswith(" ".join(["Usage: yoto-sc", *command]))
    assert not command or f"  yoto-sc {command[0]} " in text.partition("Examples:")[2]


def test_without_words_the_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 0
    bare = capsys.readouterr()
    assert cli.main(["--help"]) == 0
    assert bare == capsys.readouterr()
    assert "Commands:" in bare.out
    assert "..." not in bare.out.replace("[ARGS]...", "")


def test_version() -> None:
    result = run("--version")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.strip().endswith(yt.__version__)


def test_completion() -> None:
    completed = {"_YOTO_SC_COMPLETE": "bash_complete", "COMP_CWORD": "2"}
    result = run(COMP_WORDS="yoto-sc select --cat", **completed)
    assert result.stdout.split() == ["plain,--categorical-key"]


# --- options ---


@pytest.mark.parametrize(
    ("words", "verb", "apart"),
    [
        (
            ["select", "data.h5ad", "--n-genes", "5", "-o", "new"],
            yt.tl.select,
            # Given by the command itself, or of no use from the shell.
            {"adata", "model_dir", "progress_bar", "copy", "model_kwargs", "train_kwargs"},
        ),
        (
            ["predict", "data.h5ad", "--model", ".", "-o", "new.csv"],
            yt.tl.predict,
            {"adata", "copy"},
        ),
        (
            ["evaluate", "data.h5ad", "--genes", "g1", "-o", "new.csv"],
            yt.tl.evaluate,
            {"adata", "markers", "progress_bar"},
        ),
        (
            ["compare", "data.h5ad", "--genes", "genes.txt", "-o", "new.csv"],
            yt.tl.compare,
            {"adata", "markers", "progress_bar"},
        ),
        (
            ["stability", "data.h5ad", "--n-genes", "5", "-o", "new"],
            yt.tl.stability,
            {"adata", "copy", "progress_bar", "select_kwargs"},
        ),
        (
            ["substitutes", "data.h5ad", "-o", "new.csv"],
            yt.tl.substitutes,
            {"adata", "model_or_key", "progress_bar"},
        ),
        (["report", "data.h5ad", "-o", "new.html"], yt.report, {"adata", "path"}),
    ],
    ids=["select", "predict", "evaluate", "compare", "stability", "substitutes", "report"],
)
def test_options_are_the_arguments_of_the_verb(
    words: list[str], verb: Callable[..., Any], apart: set[str], folder: Path
) -> None:
    arguments = inspect.signature(verb).parameters
    values = parsed(*words)
    own = {"input", "table", "out", "overwrite", "results_only", "quiet", "as_json"}
    # Arguments of `select_kwargs`, and the two that `model_or_key` may be.
    own |= {"stability": {"max_steps", "accelerator"}, "substitutes": {"key", "model"}}.get(
        words[0], set()
    )
    assert set(values) - own == set(arguments) - apart
    for name in set(values) - own - ({"genes"} if words[0] == "substitutes" else set()):
        default = arguments[name].default
        if default is not inspect.Parameter.empty:
            value = values[name]
            assert (tuple(value) if isinstance(value, list) else value) == default, name


def test_a_file_names_options_as_python_does(folder: Path) -> None:
    (folder / "must.txt").write_text("gene_0001\ngene_0002\n")
    (folder / "good.toml").write_text(
        'input = "data.h5ad"\nn_genes = 7\ncategorical_keys = ["task_0", "task_1"]\n'
        'continuous_keys = "score_0"\ninclude = ["gene_0000", "@must.txt"]\nquiet = true\n'
        'out = "new"\nrandom_state = 3\n'
    )
    values = parsed("select", "--config", "good.toml")
    assert values["n_genes"] == 7
    assert values["categorical_keys"] == ("task_0", "task_1")
    assert values["continuous_keys"] == ("score_0",)
    assert values["include"] == ["gene_0000", "gene_0001", "gene_0002"]
    assert values["input"] == Path("data.h5ad")
    assert values["quiet"] is True
    assert values["random_state"] == 3


def test_the_command_line_goes_before_the_file(folder: Path) -> None:
    (folder / "good.toml").write_text('n_genes = 7\ncategorical_keys = ["task_0"]\nlayer = "x"')
    words = ["data.h5ad", "--n-genes", "auto", "--categorical-key", "task_1", "-o", "new"]
    config = ["--config", "good.toml"]
    for order in ([*words, *config], [*config, *words]):
        values = parsed("select", *order)
        assert values["n_genes"] == "auto"
        assert values["categorical_keys"] == ("task_1",)
        assert values["layer"] == "x"


@pytest.mark.parametrize(
    ("words", "content", "expected"),
    [
        ([], "", False),
        (["--transcriptome"], "", True),
        (["--transcriptome", "20"], "", 20),
        (["--transcriptome=20"], "", 20),
        ([], "transcriptome = true", True),
        ([], "transcriptome = false", False),
        ([], "transcriptome = 12", 12),
        (["--transcriptome", "0"], "transcriptome = 12", 0),
        (["--transcriptome", "7"], "transcriptome = true", 7),
        (["--transcriptome"], "transcriptome = 12", True),
    ],
)
@pytest.mark.parametrize("is_last", [False, True])
def test_the_transcriptome_is_a_flag_or_a_number(
    words: list[str], content: str, expected: Any, is_last: bool, folder: Path
) -> None:
    (folder / "c.toml").write_text(content)
    config = ["--config", "c.toml"]
    order = [*config, *words] if is_last else [*words, *config]
    value = parsed("select", "data.h5ad", "--n-genes", "5", "-o", "new", *order)["transcriptome"]
    assert value == expected
    assert isinstance(value, bool) == isinstance(expected, bool)


@pytest.mark.parametrize(
    ("words", "content", "task_weights", "class_weights"),
    [
        ([], "", None, None),
        (
            ["--task-weight", "a=2", "--task-weight", "b=c=0.5", "--class-weight", "a:CD4+: =3"],
            "",
            {"a": 2.0, "b=c": 0.5},
            {"a": {"CD4+: ": 3.0}},
        ),
        (
            [],
            'task_weights = {a = 2, "b.c" = 1.5}\n[class_weights.a]\n"T reg" = 3\nB = 1',
            {"a": 2.0, "b.c": 1.5},
            {"a": {"T reg": 3.0, "B": 1.0}},
        ),
        ([], 'task_weights = ["a=3"]\nclass_weights = "a:B=2"', {"a": 3.0}, {"a": {"B": 2.0}}),
        (["--task-weight", "c=9"], "[task_weights]\na = 2", {"c": 9.0}, None),
    ],
)
def test_weights(
    words: list[str], content: str, task_weights: Any, class_weights: Any, folder: Path
) -> None:
    (folder / "c.toml").write_text(content)
    values = parsed("select", *SELECT[1:], "--config", "c.toml", *words)
    assert values["task_weights"] == task_weights
    assert values["class_weights"] == class_weights


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("n_genes = 3.5", "'3.5' is neither"),
        ("transcriptome = 3.5", "'3.5' is no number of components"),
        ("transcriptome = [3]", "must give one value for 'transcriptome'"),
        ("[task_weights]\na = 'x'", "'a=x' is not a name, '=' and a number"),
        ("[obsm_keys]\na = 3", "must give one value for 'obsm_keys'"),
        ('unlabeled_cells = "no"', "'no' is not one of 'auto', 'use', 'ignore'"),
        ("n_genes = [3]", "must give one value for 'n_genes'"),
        ("[layer]\nname = 3", "must give one value for 'layer'"),
        ("max_steps = true", "not a valid integer"),
        ("json = true", "unknown name 'json'"),
        ("adata = 'x'", "unknown name 'adata'"),
    ],
)
def test_wrong_values_in_a_file(
    content: str, message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "c.toml").write_text(content)
    words = [word for word in SELECT if word not in ("--n-genes", "5")]
    if "n_genes" not in content:
        words += ["--n-genes", "5"]
    assert cli.main([*words, "--config", "c.toml"]) == 2
    assert message in capsys.readouterr().err


# --- wrong use ---

WRONG = {
    "unknown command": (["selct"], "Did you mean 'select'"),
    "unknown option": (["select", "--n-gens", "3"], "'--n-genes'"),
    "no panel size": (["select", "data.h5ad", *TASKS, "-o", "new"], "Missing option '--n-genes'"),
    "no share": (
        [*SELECT, "--min-detection", "some"],
        "'some' is no number, nor 'auto' or 'none'",
    ),
    "no gene": ([*SELECT, "--n-genes", "0"], "'0' is neither a whole number above 0 nor 'auto'"),
    "no number of components": (
        ["select", "--transcriptome", "data.h5ad", "--n-genes", "5", "-o", "new"],
        "'data.h5ad' is no number of components. Where that is left out, another option must",
    ),
    "no weight": (
        [*SELECT, "--task-weight", "task_0"],
        "'task_0' is not a name, '=' and a number",
    ),
    "no name": ([*SELECT, "--task-weight", "=3"], "'=3' is not a name, '=' and a number"),
    "no class": (
        [*SELECT, "--class-weight", "task_0=3"],
        "'task_0' is not a key, ':' and a class",
    ),
    "no file": (["select", "no.h5ad", *SELECT[2:]], "'no.h5ad' does not exist"),
    "full directory": ([*SELECT, "-o", "full"], "full is not empty"),
    "unknown name in TOML": ([*SELECT, "--config", "wrong.toml"], "Did you mean 'n_genes'"),
    "broken TOML": ([*SELECT, "--config", "broken.toml"], "broken.toml is no TOML file"),
    "no model": (
        ["predict", "data.h5ad", "--model", "no", "-o", "new.csv"],
        "'no' does not exist",
    ),
    "no panel": (
        ["evaluate", "data.h5ad", "--genes", "@no", "-o", "new.csv"],
        "no is no list of genes",
    ),
    "commas": (
        [*SELECT, "--include", "A1,B2"],
        "For several genes: --include A1 --include B2; or the name of a file",
    ),
    "two lists of one name": (
        ["compare", "data.h5ad", *["--genes", "genes.txt"] * 2, "-o", "new.csv"],
        "Two lists are called 'genes'",
    ),
    "unknown kind": (["predict", "data.h5ad", "--model", ".", "-o", "new.xls"], "must end in"),
}
"""Refused before anything is read."""

WRONG_DATA = {
    "damaged file": (["select", "half.h5ad", *SELECT[2:]], "half.h5ad cannot be read"),
    "no h5ad": (["select", "text.h5ad", *SELECT[2:]], "text.h5ad cannot be read"),
    "no zarr": (["select", "full", *SELECT[2:]], "full cannot be read"),
    "no column": ([*SELECT, "--categorical-key", "tusk"], "'tusk', which is not a column"),
    "no entry": ([*SELECT, "--obsm-key", "tusk"], "'tusk', which is not an entry of adata.obsm"),
    "no task": ([*SELECT, "--task-weight", "tusk=2"], "--task-weight names ['tusk']"),
    "no weight above 0": ([*SELECT, "--task-weight", "task_0=0"], "must be finite and above 0"),
    "too many components": (
        [*SELECT, "--transcriptome", "60"],
        "--transcriptome must be at most 50",
    ),
    "too many genes": ([*SELECT, "--n-genes", "5000"], "--n-genes=5000 exceeds"),
    "unknown gene": ([*SELECT, "--include", "gene_001"], "Did you mean gene_00"),
    "no list of genes": ([*SELECT, "--include", "@data.h5ad"], "data.h5ad is no list of genes"),
    "genes in no file": ([*SELECT, "--exclude", "@no.txt"], "no.txt is no list of genes"),
    "not a directory": ([*SELECT, "-o", "text.h5ad"], "text.h5ad is a file"),
    "below a file": ([*SELECT, "-o", "text.h5ad/new"], "cannot be made"),
    "not our model": ([*SELECT, "-o", ".", "--overwrite"], "is no earlier result"),
    "existing file": (["predict", "data.h5ad", "--model", ".", "-o", "old.csv"], "old.csv exists"),
}
"""Refused when the data are read, which takes longer; in this process therefore."""


@pytest.mark.parametrize(("words", "message"), WRONG.values(), ids=WRONG)
def test_wrong_use_gets_one_line_and_exit_code_2(
    words: list[str], message: str, folder: Path
) -> None:
    before = files_in(folder)
    result = run(*words, cwd=folder)
    assert result.returncode == 2
    assert result.stdout == ""
    assert message in result.stderr
    assert result.stderr.startswith("yoto-sc: ")
    assert result.stderr.count("\n") == 1
    assert files_in(folder) == before


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize(("words", "message"), WRONG_DATA.values(), ids=WRONG_DATA)
def test_wrong_data_get_one_line_and_exit_code_2(
    words: list[str], message: str, as_json: bool, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "model").mkdir()
    (folder / "old.csv").touch()
    before = files_in(folder)
    assert cli.main([*words, *(["--json"] if as_json else [])]) == 2
    out, err = capsys.readouterr()
    told = json.loads(out)["error"] if as_json else err.removeprefix("yoto-sc: ")
    assert message in told
    assert (err if as_json else out) == ""
    assert told.rstrip("\n").count("\n") == 0
    assert "Error(" not in told
    assert files_in(folder).keys() == before.keys()


@pytest.mark.parametrize("command", ["select", "evaluate"])
def test_numbers_as_classes(
    command: str,
    make_adata: Callable[..., AnnData],
    folder: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    adata = make_adata()
    adata.obs["depth"] = np.arange(adata.n_obs) % 120 / 8
    adata.write_h5ad("depth.h5ad")
    Path("genes.txt").write_text("\n".join(["gene", *adata.var_names[:3]]))
    more = {
        "select": ["--n-genes", "5", "-o", "new", "--accelerator", "cpu"],
        "evaluate": ["--genes", "genes.txt", "-o", "new.csv"],
    }
    before = files_in(folder)
    assert cli.main([command, "depth.h5ad", "--categorical-key", "depth", *more[command]]) == 2
    err = capsys.readouterr().err
    assert "'depth'" in err
    assert "120 classes for 160 labelled cells" in err
    assert "--continuous-key" in err
    assert err.count("\n") == 1
    assert files_in(folder) == before


def test_wrong_data_in_a_process(folder: Path) -> None:
    result = run(*SELECT, "--layer", "no", "--json", cwd=folder)
    assert result.returncode == 2
    assert "layer" in json.loads(result.stdout)["error"]
    assert result.stderr == ""
    assert not (folder / "new").exists()


# --- errors in the middle ---


@pytest.fixture
def failing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None]], Path]:
    """Let a selection end in the middle of its work, with half of its files written."""

    def fail_by(how: Callable[[], None]) -> Path:
        def select(adata: AnnData, *, model_dir: Path, **_: Any) -> None:
            model_dir.mkdir()
            (model_dir / "model.json").touch()
            print("a library speaks")
            how()

        monkeypatch.setattr(yt.tl, "select", select)
        return folder

    return fail_by


def test_an_unforeseen_error_keeps_its_traceback(
    failing: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    def how() -> None:
        raise ValueError("of a library")

    folder = failing(how)
    before = files_in(folder)
    with pytest.raises(ValueError, match="of a library"):
        cli.main([*SELECT, "--json"])
    assert files_in(folder).keys() == before.keys()
    out, err = capsys.readouterr()
    assert json.loads(out) == {"error": "ValueError: of a library"}
    assert "a library speaks" in err


def test_an_interrupted_run_leaves_nothing(
    failing: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    def how() -> None:
        raise KeyboardInterrupt

    folder = failing(how)
    before = files_in(folder)
    assert cli.main(SELECT) == 130
    assert files_in(folder).keys() == before.keys()
    assert "Interrupted" in capsys.readouterr().err


def test_a_run_that_the_system_ends_leaves_nothing(failing: Callable[..., Path]) -> None:
    folder = failing(lambda: signal.raise_signal(signal.SIGTERM))
    before, handler = files_in(folder), signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as caught:
        cli.main(SELECT)
    assert caught.value.code == 128 + signal.SIGTERM
    assert files_in(folder).keys() == before.keys()
    assert signal.getsignal(signal.SIGTERM) is handler


def test_a_failed_run_leaves_an_earlier_result(failing: Callable[..., Path]) -> None:
    def how() -> None:
        raise KeyboardInterrupt

    folder = failing(how)
    (folder / "full" / "panel.csv").write_text("earlier")
    before = files_in(folder / "full")
    assert cli.main([*SELECT, "-o", "full", "--overwrite"]) == 130
    assert files_in(folder / "full") == before


# --- work ---

OF_VECTORS = {"columns.csv", "columns.png"}
OF_BASE = {"base.csv"}
OF_RESULTS_ONLY = {f"{name}.csv" for name in MORE_TABLES}
OF_CLASSES = {"confusion.png", "dotplot.png"}


@pytest.fixture(scope="module")
def done(make_adata: Callable[..., AnnData], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Outcome of a selection in a process of its own."""
    folder = tmp_path_factory.mktemp("cli")
    make_adata().write_h5ad(folder / "data.h5ad")
    (folder / "c.toml").write_text(
        'categorical_keys = ["task_0", "task_1"]\ncontinuous_keys = ["score_0"]\n'
        'n_genes = 6\nmax_steps = 20\naccelerator = "cpu"\n'
    )
    words = ["select", "data.h5ad", "--config", "c.toml", "-o", "some/out", "--n-genes", "5"]
    result = run(*words, "--json", cwd=folder)
    assert result.returncode == 0, result.stderr
    return SimpleNamespace(folder=folder, out=folder / "some" / "out", result=result)


def test_select_writes_all_results(done: Any) -> None:
    assert {path.name for path in done.out.iterdir()} == set(
        cli.RESULTS
    ) - OF_VECTORS - OF_BASE - OF_RESULTS_ONLY
    assert {path.name for path in done.folder.iterdir()} == {"data.h5ad", "c.toml", "some"}
    assert [path.name for path in (done.folder / "some").iterdir()] == ["out"]
    for plot in done.out.glob("*.png"):
        assert plot.read_bytes()[1:4] == b"PNG"
        assert plot.stat().st_size > 5_000


def test_json_tells_what_the_files_hold(done: Any) -> None:
    told = json.loads(done.result.stdout)
    assert told.keys() == {"genes", "metrics", "assay", "files"}
    assert told["genes"] == yt.Panel.from_csv(done.out / "panel.csv").genes
    assert len(told["genes"]) == 5
    assert {done.folder / file for file in told["files"]} == set(done.out.iterdir())
    metrics = pd.read_csv(done.out / "metrics.csv", index_col=0)
    assert list(told["metrics"]) == ["task_0", "task_1", "score_0"] == list(metrics.index)
    assert told["metrics"]["task_0"]["macro_f1"] == pytest.approx(metrics.macro_f1["task_0"])
    assert told["metrics"]["task_0"]["r2"] is None


def test_a_log_gets_plain_lines(done: Any) -> None:
    lines = [line for line in done.result.stderr.splitlines() if "Selecting genes" in line]
    assert re.fullmatch(r"Selecting genes: step 20 of 20, genes 5, loss [\d.]+.*", lines[-1])
    assert 2 < len(lines) <= 20  # of two trainings: the data have donors
    assert "\r" not in done.result.stderr
    assert "Warning" not in done.result.stderr


def test_select_is_the_verb(done: Any, make_adata: Callable[..., AnnData]) -> None:
    adata = make_adata()
    yt.tl.select(
        adata,
        5,
        categorical_keys=["task_0", "task_1"],
        continuous_keys="score_0",
        max_steps=20,
        accelerator="cpu",
        progress_bar=False,
    )
    written = anndata.read_h5ad(done.out / "selected.h5ad")
    assert yt.Panel.from_adata(written) == yt.Panel.from_adata(adata)
    pd.testing.assert_frame_equal(written.obs, adata.obs)


def test_report_is_the_verb(done: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scores = pd.DataFrame(
        {
            "panel": ["ours"],
            "task": "task_0",
            "classifier": "k_neighbors",
            "metric": "f1",
            "value": 0.5,
        }
    )
    scores.to_csv(tmp_path / "scores.csv", index=False)
    (tmp_path / "empty.csv").touch()
    data, out = str(done.out / "selected.h5ad"), tmp_path / "page.html"
    words = ["report", data, "-o", str(out), "--title", "Ours", "--compared"]
    assert cli.main([*words, str(tmp_path / "empty.csv")]) == 2
    assert "is no table" in capsys.readouterr().err
    assert cli.main([*words, str(tmp_path / "scores.csv"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"files": [str(out)]}
    text = out.read_text()
    assert "<h1>Ours</h1>" in text
    assert "k_neighbors" in text
    page = (done.out / "report.html").read_text()
    assert all(gene in page for gene in yt.Panel.read(done.out / "panel.csv").genes)


@pytest.mark.parametrize("suffix", [".csv", ".h5ad"])
def test_predict_is_the_verb(
    suffix: str, done: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, model, out = done.folder / "data.h5ad", done.out / "model", tmp_path / f"new{suffix}"
    words = ["predict", str(data), "--model", str(model), "--n-genes", "3", "-o", str(out)]
    assert cli.main([*words, "--json", "--key-added", "mine"]) == 0
    told = json.loads(capsys.readouterr().out)
    adata = anndata.read_h5ad(data)
    yt.tl.predict(adata, model, n_genes=3, key_added="mine")
    expected = adata.obs[[c for c in adata.obs if c.startswith("mine_")]]
    if suffix == ".csv":
        written = pd.read_csv(out, index_col="cell")
        expected = expected.astype(dict.fromkeys(expected.select_dtypes("category"), object))
        pd.testing.assert_frame_equal(written, expected, check_dtype=False, check_names=False)
    else:
        written = anndata.read_h5ad(out)
        pd.testing.assert_frame_equal(written.obs, adata.obs)
    assert told == {"n_cells": adata.n_obs, "columns": list(expected), "files": [str(out)]}
    assert [path.name for path in tmp_path.iterdir()] == [out.name]


SHORT = ["--categorical-key", "task_0", "--n-genes", "5", "--max-steps", "10", "--quiet"]
SHORT += ["--accelerator", "cpu", "--group-key", "none", "--robust", "none"]


def test_only_results_are_written_where_that_is_asked_for(
    make_adata: Callable[..., AnnData], tmp_path: Path
) -> None:
    data, out = tmp_path / "data.h5ad", tmp_path / "out"
    make_adata().write_h5ad(data)
    assert cli.main(["select", str(data), *SHORT, "--results-only", "-o", str(out)]) == 0
    written = anndata.read_h5ad(out / "selected.h5ad")
    assert written.X is None
    assert list(written.obs) == ["yoto_task_0", "yoto_task_0_confidence"]
    assert list(written.var) == ["yoto_selected", "yoto_rank", "yoto_score"]
    assert set(written.obsm) == {"X_yoto"}
    for name in ("obs", "var"):
        table = pd.read_csv(out / f"{name}.csv", index_col=0)
        assert list(table) == list(getattr(written, name))
        assert list(table.index) == list(getattr(written, name).index)
    tables = {name for name, entry in written.uns["yoto"].items() if hasattr(entry, "columns")}
    assert {f"{name}.csv" for name in tables} <= {path.name for path in out.iterdir()}
    new = tmp_path / "new.h5ad"
    words = ["predict", str(data), "--model", str(out / "model"), "-o", str(new)]
    assert cli.main([*words, "--results-only"]) == 0
    predicted = anndata.read_h5ad(new)
    assert predicted.X is None
    pd.testing.assert_frame_equal(predicted.obs, written.obs)


@pytest.mark.parametrize("suffix", [".h5ad", ".zarr"])
def test_what_is_large_stays_in_its_file_and_gives_the_same(
    suffix: str,
    make_adata: Callable[..., AnnData],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    data, adata = tmp_path / f"data{suffix}", make_adata()
    adata.layers["dense"] = adata.X.toarray()
    (adata.write_zarr if suffix == ".zarr" else adata.write_h5ad)(data)
    for name, most in (("small", 2**30), ("large", 0)):
        monkeypatch.setattr(_opening, "_MOST_BYTES", most)
        for layer in ([], ["--layer", "dense"]):
            out = tmp_path / "_".join([name, *layer[1:]])
            caplog.clear()
            words = ["select", str(data), *SHORT, "--embedding", "no", *layer, "-o", str(out)]
            assert cli.main(words) == 0
            written = anndata.read_h5ad(out / "selected.h5ad")
            assert (written.X is None) == (name == "large")
            panel = (out / "panel.csv").read_bytes()
            assert panel == (tmp_path / "small" / "panel.csv").read_bytes()
            assert (out / "dotplot.png").stat().st_size > 5_000


def test_a_large_scaled_matrix_falls_back_on_raw_in_the_file(
    make_adata: Callable[..., AnnData], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adata = make_adata()
    adata.raw = adata.copy()
    adata.X = adata.X.toarray() - 1.0
    adata.write_h5ad(tmp_path / "data.h5ad")
    monkeypatch.setattr(_opening, "_MOST_BYTES", 0)
    opened = _opening.open_file(tmp_path / "data.h5ad")
    assert type(opened.X).__module__.startswith("dask")
    assert type(opened.raw.X).__module__.startswith("dask")
    np.testing.assert_array_equal(opened.raw.X.compute().toarray(), adata.raw.X.toarray())


def test_large_expression_needs_dask(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(_opening, "_MOST_BYTES", 0)
    monkeypatch.setitem(sys.modules, "dask.array", None)
    assert cli.main(SELECT) == 2
    assert 'pip install "yoto-sc[dask]"' in capsys.readouterr().err


@pytest.fixture(scope="module")
def of_vectors(
    make_adata: Callable[..., AnnData], tmp_path_factory: pytest.TempPathFactory
) -> Any:
    """Outcome of a selection for a table of vectors and the transcriptome, without classes."""
    folder, adata = tmp_path_factory.mktemp("vectors"), make_adata()
    values = np.log1p(adata.X[:, :3].toarray())
    values[:60, 1] = np.nan
    adata.obsm["proteins"] = pd.DataFrame(values, adata.obs_names, ["CD3", "CD4", "CD8"])
    adata.write_h5ad(folder / "data.h5ad")
    words = ["--obsm-key", "proteins", "--transcriptome", "4", "--n-genes", "5"]
    words += ["--max-steps", "10", "--accelerator", "cpu", "--group-key", "none", "--quiet"]
    words += ["--task-weight", "proteins=2", "--unlabeled-cells", "use"]
    out = folder / "out"
    assert cli.main(["select", str(folder / "data.h5ad"), *words, "-o", str(out)]) == 0
    return SimpleNamespace(data=folder / "data.h5ad", out=out)


def test_select_for_vectors_writes_their_tables_and_no_picture_of_classes(of_vectors: Any) -> None:
    names = {path.name for path in of_vectors.out.iterdir()}
    assert names == set(cli.RESULTS) - OF_CLASSES - OF_BASE - OF_RESULTS_ONLY
    stored = anndata.read_h5ad(of_vectors.out / "selected.h5ad").uns["yoto"]
    assert stored["params"]["transcriptome"] == 4
    assert stored["params"]["task_weights"] == {"proteins": 2.0}
    assert stored["params"]["unlabeled_cells"] == "use"
    columns = pd.read_csv(of_vectors.out / "columns.csv", index_col=0)
    assert list(columns["column"]) == ["CD3", "CD4", "CD8", "PC1", "PC2", "PC3", "PC4"]
    np.testing.assert_allclose(columns["r2"], stored["columns"]["r2"])
    teacher = pd.read_csv(of_vectors.out / "teacher.csv", index_col="task")
    assert list(teacher.index) == ["proteins"]
    assert teacher["is_used"].all()
    assert (of_vectors.out / "columns.png").stat().st_size > 5_000


def test_predict_writes_vectors_as_columns(
    of_vectors: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["predict", str(of_vectors.data), "--model", str(of_vectors.out / "model")]
    assert cli.main([*words, "--json", "-o", str(tmp_path / "new.csv")]) == 0
    told = json.loads(capsys.readouterr().out)
    adata = anndata.read_h5ad(of_vectors.data)
    yt.tl.predict(adata, of_vectors.out / "model")
    expected = pd.concat(
        [
            adata.obsm["yoto_proteins"].add_prefix("yoto_proteins_"),
            pd.DataFrame(
                adata.obsm["yoto_transcriptome"],
                adata.obs_names,
                [f"yoto_transcriptome_PC{number}" for number in range(1, 5)],
            ),
        ],
        axis=1,
    )
    written = pd.read_csv(tmp_path / "new.csv", index_col="cell")
    pd.testing.assert_frame_equal(written, expected, check_dtype=False, check_names=False)
    assert told["columns"] == list(expected)
    assert cli.main([*words, "-o", str(tmp_path / "new.h5ad")]) == 0
    entries = anndata.read_h5ad(tmp_path / "new.h5ad").obsm
    pd.testing.assert_frame_equal(entries["yoto_proteins"], adata.obsm["yoto_proteins"])
    np.testing.assert_array_equal(entries["yoto_transcriptome"], adata.obsm["yoto_transcriptome"])


def test_evaluate_by_vectors_is_the_verb(of_vectors: Any, tmp_path: Path) -> None:
    words = ["evaluate", str(of_vectors.data), "--genes", str(of_vectors.out / "panel.csv")]
    words += ["--obsm-key", "proteins", "--transcriptome", "3", "--classifier", "k_neighbors"]
    assert cli.main([*words, "--n-splits", "2", "-q", "-o", str(tmp_path / "scores.csv")]) == 0
    written = pd.read_csv(tmp_path / "scores.csv", keep_default_na=False)
    expected = yt.tl.evaluate(
        anndata.read_h5ad(of_vectors.data),
        yt.Panel.from_csv(of_vectors.out / "panel.csv"),
        obsm_keys="proteins",
        transcriptome=3,
        classifiers="k_neighbors",
        n_splits=2,
    )
    for column in ("task", "metric", "category"):
        assert list(written[column]) == list(expected[column])
    np.testing.assert_allclose(pd.to_numeric(written["value"]), expected["value"])


def test_predict_of_a_damaged_model(
    done: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["predict", str(done.folder / "data.h5ad"), "--model", str(tmp_path), "-o"]
    assert cli.main([*words, str(tmp_path / "new.csv")]) == 2
    assert "holds no model of yoto_sc" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_evaluate_is_the_verb(
    done: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = done.folder / "data.h5ad", tmp_path / "scores.csv"
    words = ["evaluate", str(data), "--genes", str(done.out / "panel.csv"), "-o", str(out)]
    options = ["--classifier", "logistic_regression", "--n-splits", "2", "--json"]
    assert cli.main([*words, *TASKS, *options]) == 0
    told = json.loads(capsys.readouterr().out)
    genes = yt.Panel.from_csv(done.out / "panel.csv").genes
    expected = yt.tl.evaluate(
        anndata.read_h5ad(data),
        genes,
        categorical_keys="task_0",
        continuous_keys="score_0",
        classifiers="logistic_regression",
        n_splits=2,
    )
    text = dict.fromkeys(("task", "classifier", "metric", "category"), str)
    written = pd.read_csv(
        out, dtype=text, keep_default_na=False, na_values={"value": "", "fold": "", "n_cells": ""}
    )
    pd.testing.assert_frame_equal(written, expected, check_dtype=False)
    assert told["genes"] == genes
    assert len(told["scores"]) == len(expected)


@pytest.mark.parametrize("way", ["names", "marked file", "file"])
def test_genes_are_names_or_files_wherever_they_are_asked_for(way: str, folder: Path) -> None:
    given = {"names": ["gene_003", "gene_004"], "marked file": ["@genes.txt"]}
    words = given.get(way, ["genes.txt"])
    for command, flag in (
        ("select", "--include"),
        ("select", "--exclude"),
        ("evaluate", "--genes"),
    ):
        more = ["--n-genes", "5", "-o", "new"] if command == "select" else ["-o", "new.csv"]
        asked = [word for name in words for word in (flag, name)]
        found = parsed(command, "data.h5ad", *asked, *more)[flag.removeprefix("--")]
        assert found == ["gene_003", "gene_004"]
    if way != "names":
        asked = ["--candidates", *words, "--n-genes", "5", "-o", "new"]
        assert parsed("select", "data.h5ad", *asked)["candidates"] == ["gene_003", "gene_004"]


def test_compare_is_the_verb(
    done: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = done.folder / "data.h5ad", tmp_path / "scores.csv"
    adata = anndata.read_h5ad(data)
    (tmp_path / "first.txt").write_text("\n".join(["gene", *adata.var_names[:4]]))
    words = ["compare", str(data), "--genes", f"ours={done.out / 'panel.csv'}"]
    words += ["--genes", str(tmp_path / "first.txt"), "-o", str(out), *TASKS]
    how = ["--classifier", "k_neighbors", "--n-splits", "2"]
    assert cli.main([*words, *how]) == 0
    shown = capsys.readouterr().out
    panels = {
        "ours": yt.Panel.read(done.out / "panel.csv").genes,
        "first": list(adata.var_names[:4]),
    }
    expected = yt.tl.compare(
        adata,
        panels,
        categorical_keys="task_0",
        continuous_keys="score_0",
        classifiers="k_neighbors",
        n_splits=2,
    )
    assert pd.read_csv(out)["value"].tolist() == pytest.approx(
        expected["value"].tolist(), nan_ok=True
    )
    assert "ours" in shown
    assert (tmp_path / "scores.png").read_bytes()[1:4] == b"PNG"
    assert cli.main(words) == 2  # the table exists
    out.unlink()
    assert cli.main(words) == 2  # the picture does
    assert "scores.png exists" in capsys.readouterr().err


def test_compare_needs_no_labels(
    done: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["compare", str(done.folder / "data.h5ad"), "--genes", str(done.out / "panel.csv")]
    assert cli.main([*words, "-o", str(tmp_path / "scores.csv"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["files"] == [str(tmp_path / f"scores.{suffix}") for suffix in ("csv", "png")]
    assert list(told["panels"]) == ["panel"]


def test_stability_is_the_verb(
    done: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = done.folder / "data.h5ad", tmp_path / "out"
    words = ["stability", str(data), "--n-genes", "4", "--n-runs", "2", "-o", str(out), "--json"]
    words += ["--categorical-key", "task_0", "--max-steps", "5", "--accelerator", "cpu", "--quiet"]
    assert cli.main(words) == 0
    told = json.loads(capsys.readouterr().out)
    adata = anndata.read_h5ad(data)
    quick = {"max_steps": 5, "accelerator": "cpu"}
    yt.tl.stability(
        adata,
        4,
        n_runs=2,
        categorical_keys="task_0",
        select_kwargs=quick,
        progress_bar=False,
    )
    genes = pd.read_csv(out / "genes.csv", index_col="gene")
    for name in ("frequency", "consensus"):
        want = adata.var.loc[genes.index, f"yoto_{name}"]
        np.testing.assert_allclose(genes[name].astype(float), want.astype(float))
    assert told["genes"] == list(genes.index[:4])
    assert told["mean_jaccard"] == pytest.approx(adata.uns["yoto_stability"]["mean_jaccard"])
    names = {"genes.csv", "panels.csv", "runs.csv", "stability.png"}
    assert {path.name for path in out.iterdir()} == names
    assert len(pd.read_csv(out / "runs.csv")) == 2


def test_substitutes_is_the_verb(
    done: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gene = yt.Panel.read(done.out / "panel.csv").genes[1]
    out, more = tmp_path / "swaps.csv", ["-n", "2", "--genes", gene]
    words = ["substitutes", str(done.out / "selected.h5ad"), *more, "-o", str(out)]
    assert cli.main(words) == 0
    assert gene in capsys.readouterr().out
    adata = anndata.read_h5ad(done.out / "selected.h5ad")
    expected = yt.tl.substitutes(adata, genes=gene, n=2)
    written = pd.read_csv(out)
    assert list(written["substitute"]) == list(expected["substitute"])
    page = ["report", words[1], "--substitutes", str(out), "-o", str(tmp_path / "page.html")]
    assert cli.main(page) == 0
    data, model = str(done.folder / "data.h5ad"), str(done.out / "model")
    again = ["substitutes", data, "--model", model, *more, "-o", str(out), "--overwrite"]
    assert cli.main(again) == 0
    assert list(pd.read_csv(out)["gene"].unique()) == [gene]


# --- files ---


def h5mu(path: Path, **modalities: AnnData) -> Path:
    with h5py.File(path, "w") as file:
        for name, adata in modalities.items():
            write_elem(file, f"mod/{name}", adata)
    return path


def spatialdata(path: Path, **tables: AnnData) -> Path:
    root = zarr.open_group(path, mode="w", zarr_format=2)
    for name, adata in tables.items():
        write_elem(root, f"tables/{name}", adata)
    return path


@pytest.mark.parametrize("most", [2**30, 0], ids=["small", "large"])
@pytest.mark.parametrize(("write", "suffix"), [(h5mu, ".h5mu"), (spatialdata, ".zarr")])
def test_tables_in_larger_objects_are_read(
    write: Any,
    suffix: str,
    most: int,
    make_adata: Callable[..., AnnData],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_opening, "_MOST_BYTES", most)
    adata = make_adata()
    one = write(tmp_path / f"one{suffix}", rna=adata)
    two = write(tmp_path / f"two{suffix}", rna=adata, protein=adata[:, :9].copy())
    for path, table in ((one, None), (one, "rna"), (two, "rna")):
        found = _opening.open_file(path, table)
        pd.testing.assert_frame_equal(found.obs, adata.obs)
        pd.testing.assert_frame_equal(found.var, adata.var)
        assert type(found.X).__module__.startswith("dask") == (most == 0)
        np.testing.assert_array_equal(found.to_memory().X.toarray(), adata.X.toarray())
    assert _opening.open_file(two, "protein").n_vars == 9


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], r"holds several; its tables are \['protein', 'rna'\]"),
        (["--table", "dna"], r"holds no 'dna'; its tables are"),
    ],
)
def test_which_table_must_be_known(
    words: list[str], message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    adata = anndata.read_h5ad("data.h5ad")
    h5mu(folder / "two.h5mu", rna=adata, protein=adata)
    assert cli.main(["select", "two.h5mu", *SELECT[2:], *words]) == 2
    err = capsys.readouterr().err
    assert "'--table'" in err
    assert re.search(message, err)


@pytest.mark.parametrize("name", ["data.h5ad", "matrix.h5"])
def test_a_file_of_one_table_has_no_other(
    name: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_10x(folder / "matrix.h5", anndata.read_h5ad("data.h5ad"))
    assert cli.main(["select", name, *SELECT[2:], "--table", "rna"]) == 2
    assert "holds one table only, and none is called 'rna'" in capsys.readouterr().err


def write_10x(path: Path, adata: AnnData) -> None:
    """Write counts as a Xenium or a Cell Ranger does."""
    counts = adata.X.tocsr()
    names = [name.encode() for name in adata.var_names]
    with h5py.File(path, "w") as file:
        matrix = file.create_group("matrix")
        matrix["barcodes"] = [name.encode() for name in adata.obs_names]
        for part in ("data", "indices", "indptr"):
            matrix[part] = getattr(counts, part)
        matrix["shape"] = adata.shape[::-1]
        features = matrix.create_group("features")
        features["id"] = [b"ENSG" + name for name in names]
        features["name"] = [*names[:-1], names[0]]  # one symbol twice
        features["feature_type"] = [b"Gene Expression"] * adata.n_vars
        features["genome"] = [b"GRCh38"] * adata.n_vars
        features["_all_tag_keys"] = [b"genome"]


def test_matrices_of_10x_genomics_are_read_and_labelled(done: Any, tmp_path: Path) -> None:
    adata = anndata.read_h5ad(done.folder / "data.h5ad")
    write_10x(tmp_path / "cell_feature_matrix.h5", adata)
    found = _opening.open_file(tmp_path / "cell_feature_matrix.h5")
    assert found.var_names.is_unique
    assert list(found.var_names[:-1]) == list(adata.var_names[:-1])
    np.testing.assert_array_equal(found.X.toarray(), adata.X.toarray())
    words = ["predict", str(tmp_path / "cell_feature_matrix.h5"), "--missing", "zero"]
    words += ["--model", str(done.out / "model"), "-o", str(tmp_path / "labels.csv"), "--quiet"]
    assert cli.main(words) == 0
    assert len(pd.read_csv(tmp_path / "labels.csv")) == adata.n_obs


def test_zarr_in_and_an_earlier_result_replaced(
    folder: Path, make_adata: Callable[..., AnnData], capsys: pytest.CaptureFixture[str]
) -> None:
    """With a continuous task alone, there are fewer plots: none of the earlier ones stays."""
    make_adata().write_zarr(folder / "data.zarr")
    for name in ("panel.csv", "confusion.png"):
        (folder / "full" / name).write_text("earlier")
    words = ["--continuous-key", "score_0", "--n-genes", "4", "--max-steps", "10"]
    words += ["--group-key", "none", "--unlabeled-cells", "ignore"]
    out = ["-o", "full", "--overwrite", "--quiet", "--accelerator", "cpu"]
    assert cli.main(["select", "data.zarr", *words, *out]) == 0
    names = {path.name for path in (folder / "full").iterdir()}
    absent = OF_CLASSES | OF_VECTORS | OF_BASE | OF_RESULTS_ONLY | {"teacher.csv"}
    assert names == {*cli.RESULTS, "mine.txt"} - absent
    assert yt.Panel.from_csv(folder / "full" / "panel.csv").n_genes == 4
    out, err = capsys.readouterr()
    assert err == ""
    assert "4 genes, most important first: " in out
    assert "macro_f1" not in out


def test_batches_are_named(folder: Path) -> None:
    words = ["--categorical-key", "task_0", "--n-genes", "4", "--max-steps", "10", "--quiet"]
    words += ["--group-key", "none", "--batch-key", "donor", "--accelerator", "cpu"]
    words += ["--min-detection", "0.1"]
    assert cli.main(["select", "data.h5ad", *words, "-o", "new"]) == 0
    stored = anndata.read_h5ad(folder / "new" / "selected.h5ad").uns["yoto"]
    assert stored["params"]["batch_key"] == "donor"
    assert stored["params"]["min_detection"] == 0.1


def test_demo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(cli.DEMO, "max_steps", 10)
    monkeypatch.chdir(tmp_path)
    assert cli.main(["demo", "-o", "."]) == 0
    absent = OF_VECTORS | OF_BASE | OF_RESULTS_ONLY | {"teacher.csv"}  # every cell has its labels
    assert {path.name for path in tmp_path.iterdir()} == set(cli.RESULTS) - absent
    assert "32 genes, most important first: " in capsys.readouterr().out
    confusion = anndata.read_h5ad("selected.h5ad").uns["yoto"]["confusion"]
    assert set(np.asarray(confusion["task"])) == set(cli.DEMO["categorical_keys"])


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no SIGINT to a single process")
def test_ctrl_c_ends_a_training(folder: Path) -> None:
    before = files_in(folder)
    # A shell in the background lets its children ignore Ctrl-C; a terminal does not.
    listen = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    code = f"{listen}import sys; from yoto_sc.cli import main; sys.exit(main(sys.argv[1:]))"
    words = [sys.executable, "-c", code, *SELECT, "--max-steps", "2000"]
    process = subprocess.Popen(
        words, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=folder
    )
    # Reads up to the first line that the training writes.
    deadline = time.monotonic() + 120
    while "Selecting" not in process.stderr.readline() and time.monotonic() < deadline:
        pass
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == ""
    assert "Interrupted; nothing was written." in err
    assert "Traceback" not in err
    assert files_in(folder).keys() == before.keys()
