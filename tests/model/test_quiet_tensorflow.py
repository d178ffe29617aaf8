import os
import subprocess
import sys

NOISE = (
    "2026-11-24 17:22:31.175935: I tensorflow/core/util/port.cc:113] oneDNN custom operations",
    "2026-11-24 17:22:31.186482: E external/xla/cuda_fft.cc:479] Unable to register cuFFT factory",
    "W0000 00:00:1795540778.510262   26478 op_level_cost_estimator.cc:699] Error in PredictCost()",
)
NEWS = (
    "2026-11-24 17:22:31.186482: E tensorflow/core/framework.cc:12] Out of memory",
    "error: picture.jpg: cannot be decoded",
)


def test_news_passes_and_chatter_does_not(tmp_path):
    text = tmp_path / "text"
    text.write_text("\n".join([NOISE[0], NEWS[0], NOISE[1], NEWS[1], NOISE[2]]) + "\n")
    script = (
        "import os, sys\n"
        "from model.quiet_tensorflow import quiet_tensorflow\n"
        "with quiet_tensorflow():\n"
        f"    os.system('cat {text} >&2')\n"
        "print('after', file=sys.stderr)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=os.environ, check=True
    )
    assert result.stderr.splitlines() == [*NEWS, "after"]
