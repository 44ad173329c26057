"""Requests that schemathesis generates from the OpenAPI document, valid and invalid, with all of its checks.

    python3 -m venv schemathesis && schemathesis/bin/pip install schemathesis==4.32.5
    python -m benchmarks.campaigns.schema --schemathesis schemathesis/bin/st [--cases 5000] [--seed 1]

Starts a service on loopback. schemathesis has an environment of its own, because it brings other versions of what the
tests use. Fails if schemathesis finds a fault, or sent fewer requests than `--cases`.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.campaigns.asking import PATIENCE
from benchmarks.service import serving

CONFIGURATION = """
# All checks run by default; --checks would override what follows.
# A schema does not tell a picture from other bytes, nor which channels a layer has, so what it allows may be rejected.
[checks.positive_data_acceptance]
expected-statuses = [200, 400, 404, 406, 413, 415, 422]

# POST is Hugging Face's protocol. It works, as `Allow` says, but foreign protocols are not in the document.
[[operations]]
include-name = "GET /models/{name}"
checks.allow_header_conformance.enabled = false
"""

PER_OPERATION = 1 / 14
"""Examples for each of the 13 operations, as a part of all cases: those without options have few."""


def generate(schemathesis: Path, url: str, cases: int, seed: int, folder: Path) -> tuple[int, int]:
    """Returns how many requests were sent, and schemathesis's exit code."""
    configuration, report = folder / "schemathesis.toml", folder / "report.json"
    configuration.write_text(CONFIGURATION)
    examples = max(1, round(cases * PER_OPERATION))
    command: list[str | Path] = [schemathesis, "--config-file", configuration, "run", f"{url}/openapi.json"]
    command += ["--mode", "all", "--continue-on-failure", "--no-shrink", "--warnings", "off"]
    command += ["--max-examples", str(examples), "--seed", str(seed), "--request-timeout", str(PATIENCE)]
    command += ["--report", "json", "--report-json-path", report]
    code = subprocess.run(command, cwd=folder).returncode
    return json.loads(report.read_text())["test_cases"]["generated"], code


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--schemathesis", type=Path, required=True, help="its program, called st")
    parser.add_argument("--cases", type=int, default=5_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    settings = {"CONVOSCOPE_DEFAULT_MODEL": "tutorial", "CONVOSCOPE_CLIENT_SHARE": "1", "CONVOSCOPE_DEADLINE": "30"}
    with serving(**settings) as (_, _, client), tempfile.TemporaryDirectory() as folder:
        url = str(client.base_url).rstrip("/")
        sent, code = generate(options.schemathesis.resolve(), url, options.cases, options.seed, Path(folder))
    print(f"{sent} requests; schemathesis ended with {code}")
    sys.exit(code != 0 or sent < options.cases)


if __name__ == "__main__":
    main()
