"""`cratos demo` in a folder of its own: made-up events, a token, a key. In: the program. Out: where it answers."""

import pathlib
import re
import subprocess
import tempfile
import time

# Seconds until something that should happen has not happened.
PATIENCE = 30


class Demo:
    """The program with made-up events, in a folder of its own."""

    def __init__(self, program):
        self.temporary = tempfile.TemporaryDirectory(prefix="cratos-demo-")
        folder = pathlib.Path(self.temporary.name)
        self.folder = folder / "demo"
        self.said = open(folder / "demo.log", "w", encoding="utf-8")
        command = [program, "demo", "--keep", str(self.folder), "--hold", "600"]
        self.process = subprocess.Popen(command, stdout=self.said, stderr=subprocess.STDOUT)
        self.origin = self.wait()
        site = (self.folder / "sites/demo.example.net.yaml").read_text(encoding="utf-8")
        self.token = re.search(r"\nToken:\n  (\S+)\n", self.text())[1]
        self.key = re.search(r'mispAuthKey: "(\w+)"', site)[1]

    def wait(self):
        for _ in range(PATIENCE * 10):
            found = re.search(r"events at (http://127\.0\.0\.1:\d+)/\n(?s:.*)\nToken:\n", self.text())
            if found:
                return found[1]
            assert self.process.poll() is None, self.text()
            time.sleep(0.1)
        raise AssertionError("the demo does not begin")

    def text(self):
        return pathlib.Path(self.said.name).read_text(encoding="utf-8")

    def end(self):
        self.process.terminate()
        self.process.wait(PATIENCE)
        self.said.close()
        self.temporary.cleanup()
