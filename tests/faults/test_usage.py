"""What cannot work is refused before anything is measured, with exit code 2 and a way out."""

import pytest


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("measure.frks=1", "did you mean 'forks'?"),
        ("infer.techniques=[torch_eagre]", "there is no infer technique 'torch_eagre'; did you mean 'torch_eager'?"),
        ("train=[{technique: from_scratch, params: {epoch: 1}}]", "did you mean 'epochs'?"),
        ("workload.name=sentence_clasification", "sentence_classification"),
        ("workload.max_lenght=3", "max_length"),
        ("workload.data={source: file, train: no.tsv, validation: no.tsv, test: no.tsv}", "no.tsv"),
        ("workload.model={source: folder, path: nowhere}", "nowhere"),
    ],
)
def test_a_bad_suite_ends_in_2_and_names_the_way_out(joulebench, tiny, override, message):
    result = joulebench("plan", str(tiny), override)
    assert result.returncode == 2, result.stderr
    assert message in result.stderr
    assert "tiny.yaml" in result.stderr
    assert "Traceback" not in result.stderr


def test_an_unwritable_results_folder_ends_in_2(joulebench, tiny, tmp_path):
    (tmp_path / "results").write_text("a file, not a folder")
    result = joulebench("run", str(tiny))
    assert result.returncode == 2
    assert "choose another folder with --results" in result.stderr


def test_an_expression_that_matches_nothing_names_the_cases(joulebench, tiny):
    result = joulebench("plan", str(tiny), "-k", "nothing_like_it")
    assert result.returncode == 2
    assert "infer/torch_eager@cpu/offline" in result.stderr


def test_an_unknown_option_ends_in_2(joulebench):
    result = joulebench("run", "--nonsense")
    assert result.returncode == 2
    assert "No such option" in result.stderr


def test_a_folder_that_is_no_run_ends_in_2(joulebench, tmp_path):
    result = joulebench("report", str(tmp_path))
    assert result.returncode == 2
    assert "is not a run" in result.stderr


def test_no_run_at_all_says_how_to_make_one(joulebench):
    result = joulebench("report")
    assert result.returncode == 2
    assert "joulebench run configs/quick.yaml" in result.stderr


def test_a_suite_of_which_nothing_can_run_ends_in_2_with_the_reasons(joulebench, tiny):
    result = joulebench("run", str(tiny), "devices=[quantum]")
    assert result.returncode == 2
    assert "every case is skipped: there is no device 'quantum'" in result.stderr
