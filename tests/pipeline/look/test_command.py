"""The command `look`: what it says, and what it writes."""

import os
import signal
import subprocess
import sys
import urllib.request

from click.testing import CliRunner

from pipeline.__main__ import main
from tests.components.coco_example_gen.small_dataset import annotation, image, write_dataset
from tests.pipeline.look.data import write_flawed
from tests.test_layering import REPO, TFX_AND_BEAM


def run(*arguments):
    return CliRunner().invoke(main, ["look", *map(str, arguments)])


def test_a_static_folder_has_all_that_the_page_needs(tmp_path):
    write_flawed(tmp_path / "D")
    for _ in range(2):  # its own output is replaced
        done = run(tmp_path / "D", "--out", tmp_path / "P")
        assert done.exit_code == 0, done.output
        lines = done.output.splitlines()
        assert lines[0].startswith("warning: 1 annotation of no picture")
        assert lines[-1] == f"5 pictures (1 of them cannot be shown): open {tmp_path}/P/index.html"
    assert sorted(os.listdir(tmp_path / "P" / "thumbs")) == ["0.jpg", "1.jpg", "3.jpg", "4.jpg"]
    assert (tmp_path / "P" / "data" / "pictures-0.js").is_file()


def test_nothing_of_the_user_s_is_touched(tmp_path):
    write_dataset(tmp_path / "D", [image(1)], [annotation(1, 1)])
    for out, said in [(tmp_path / "D", "which is read"), (tmp_path / "D" / "new", "which is read")]:
        done = run(tmp_path / "D", "--out", out)
        assert done.exit_code == 2 and said in done.output and done.output.count("\n") == 1
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a.txt").write_text("mine")
    done = run(tmp_path / "D", "--out", tmp_path / "mine")
    assert done.exit_code == 2 and "not of ours" in done.output
    assert os.listdir(tmp_path / "mine") == ["a.txt"]


def test_a_wrong_folder_ends_in_a_line(tmp_path):
    done = run(tmp_path / "none")
    assert done.exit_code == 1
    assert done.output == f"error: {tmp_path / 'none'}: no such file or folder\n"


def test_it_serves_until_ctrl_c_and_loads_no_heavy_library(tmp_path):
    write_dataset(tmp_path / "D", [image(1)], [annotation(1, 1)])
    code = (
        "import sys; from pipeline.look.command import look; "
        f"look(['{tmp_path / 'D'}', '--port', '0'], standalone_mode=False); "
        f"print(*[n for n in {sorted(TFX_AND_BEAM | {'keras', 'tensorflow', 'scipy'})} "
        "if n in sys.modules])"
    )
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, cwd=REPO, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.startswith("1 picture: http://127.0.0.1:")
            with urllib.request.urlopen(f"{line.split()[2]}data/index.js", timeout=20) as answer:
                assert answer.read().startswith(b'look.take("index", 0, JSON.parse(')
            process.send_signal(signal.SIGINT)
            assert process.stdout.read().splitlines() == ["ended", ""]
            assert process.wait(20) == 0
        finally:
            process.kill()
