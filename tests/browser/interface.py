"""The description of the interface, against its standard and against the program that gives it.

    interface.py CRATOS

/openapi.json is valid OpenAPI 3.1; requests made from it, good and bad, get statuses, media types and bodies that it names.
Ends with 1 if not so.
"""

import json
import os
import pathlib
import subprocess
import sys
import urllib.error
import urllib.request

from demo import PATIENCE, Demo
from openapi_spec_validator import OpenAPIV31SpecValidator

HERE = pathlib.Path(__file__).parent
CHECKS = "faults_say_when_to_ask_again,status_code_conformance,content_type_conformance,response_schema_conformance"
# Requests per operation and phase; seconds for all of them.
EXAMPLES, LIMIT = 30, 170


def routed(origin, path, methods):
    """False: described, and the program has no such URL (`tests/all/pages.rs` lists these)."""
    target = path.replace("{orgUUID}", "55f6ea65-aa10-4c5a-bf01-4f84950d210f").replace("{", "").replace("}", "")
    request = urllib.request.Request(origin + target, method=next(iter(methods)).upper())
    try:
        return urllib.request.urlopen(request, timeout=PATIENCE).status == 200
    except urllib.error.HTTPError as error:
        return error.code != 404


def main():
    demo = Demo(sys.argv[1])
    try:
        with urllib.request.urlopen(demo.origin + "/openapi.json", timeout=PATIENCE) as answer:
            document = json.load(answer)
        OpenAPIV31SpecValidator(document).validate()
        assert document["openapi"].startswith("3.1"), document["openapi"]
        missing = [path for path, methods in document["paths"].items() if not routed(demo.origin, path, methods)]
        print(f"interface: {len(document['paths'])} paths, valid; not there yet: {missing}", flush=True)
        command = [
            pathlib.Path(sys.executable).parent / "schemathesis", "run", demo.origin + "/openapi.json",
            "--header", f"token: {demo.token}", "--checks", CHECKS, "--max-examples", str(EXAMPLES), "--seed", "1",
            "--phases", "examples,coverage,fuzzing", "--generation-database", "none", "--no-color",
        ]
        for path in missing:
            command += ["--exclude-path", path]
        hooks = {**os.environ, "SCHEMATHESIS_HOOKS": "checks", "PYTHONPATH": str(HERE)}
        ended = subprocess.run(command, env=hooks, cwd=demo.temporary.name, timeout=LIMIT, check=False)
        assert ended.returncode == 0, "answers that the description does not name"
    finally:
        demo.end()
    print("interface: good")


main()
