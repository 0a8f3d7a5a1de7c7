"""In the machine: every report of pytest as one line of JSON on the second serial port."""

import json
from pathlib import Path

import pytest

PORT = Path("/dev/ttyS1")
_config: list[pytest.Config] = []


def pytest_configure(config: pytest.Config) -> None:
    _config.append(config)


def _tell(report: pytest.TestReport | pytest.CollectReport) -> None:
    data = _config[0].hook.pytest_report_to_serializable(config=_config[0], report=report)
    with PORT.open("w") as port:
        port.write(json.dumps(data) + "\n")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    _tell(report)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if report.failed:
        _tell(report)
