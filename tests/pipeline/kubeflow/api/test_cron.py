"""Cron expressions mean here what they mean in a crontab, and in Kubeflow what is sent."""

import pytest

from ground.errors import ConfigError
from pipeline.kubeflow.api.cron import checked_cron, interval_seconds


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("0 3 * * *", "0 0 3 * * *"),
        ("30 0 3 * * *", "30 0 3 * * *"),
        ("*/15 * * * *", "0 */15 * * * *"),
        ("0 9 ? * 1-5", "0 0 9 ? * 1-5"),
        ("0 9 1,15 jan-MAR,dec Sun", "0 0 9 1,15 jan-MAR,dec Sun"),
        ("5/20  1 * * *", "0 5/20 1 * * *"),
        ("0 0 29 2 *", "0 0 0 29 2 *"),
        ("0 0 31 2 mon", "0 0 0 31 2 mon"),
        ("@hourly", "0 0 * * * *"),
        ("@Weekly", "0 0 0 * * 0"),
    ],
)
def test_cron_is_sent_with_seconds(given: str, sent: str) -> None:
    assert checked_cron(given) == sent
    assert checked_cron(sent) == sent


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("", "expected five fields"),
        ("3 * * *", "expected five fields"),
        ("0 0 3 * * * 2030", "expected five fields"),
        ("@every 1h", "expected five fields"),
        ("60 * * * *", "'60' is no minute: expected 0 to 59"),
        ("0 24 * * *", "'24' is no hour"),
        ("0 0 0 * *", "'0' is no day of the month: expected 1 to 31"),
        ("0 0 * 13 *", "'13' is no month: expected 1 to 12 or jan to dec"),
        ("0 0 * * 7", r"no day of the week: expected 0 to 6 or sun to sat \(Sunday is 0\)"),
        ("0 0 L * *", "'L' is no day of the month"),
        ("0 0 * * 1#2", "'1#2' is no day of the week"),
        ("*/0 * * * *", "bad step '0'"),
        ("*/x * * * *", "bad step 'x'"),
        ("5-1 * * * *", "ends before it begins"),
        ("0 0 1- * *", "'' is no day"),
        ("-1 * * * *", "'' is no minute"),
        ("0 0 30 2 *", "no such day ever comes"),
        ("0 0 31 4,6 *", "no such day ever comes"),
        ("\uff10 3 * * *", "is no minute"),
    ],
)
def test_cron_that_kubeflow_would_refuse_or_never_start_is_refused(given: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        checked_cron(given)


def test_intervals_have_a_unit() -> None:
    given = ("90s", "5m", "6h", "1d", "2w")
    assert [interval_seconds(text) for text in given] == [90, 300, 21600, 86400, 1209600]
    for wrong in ("", "6", "h", "30s", "0h", "-1h", "1.5h", "60w", "1 month"):
        with pytest.raises(ConfigError, match="expected a number and s, m, h, d or w"):
            interval_seconds(wrong)
