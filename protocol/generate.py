"""Makes the stubs anew from the .proto files: `python -m protocol.generate`; `--check` fails when they are stale."""

import argparse
import filecmp
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

FOLDER = Path(__file__).parent


def generate(into: Path) -> list[str]:
    """Writes the stubs under the folder `into` and returns their paths relative to it."""
    protos = sorted(FOLDER.glob("*.proto"))
    # The gRPC plugin writes a file for each .proto, an empty one where there is no service.
    services = [proto for proto in protos if "\nservice " in proto.read_text()]
    _protoc(protos, f"--python_out={into}", f"--pyi_out={into}")
    _protoc(services, f"--grpc_python_out={into}")
    endings = ("_pb2.py", "_pb2.pyi")
    stubs = [f"{proto.stem}{ending}" for proto in protos for ending in endings]
    stubs += [f"{proto.stem}_pb2_grpc.py" for proto in services]
    return [f"{FOLDER.name}/{stub}" for stub in stubs]


def stale_stubs() -> list[str]:
    """Stubs that are missing, differ from a fresh generation, or have no .proto file any more."""
    root = FOLDER.parent
    with tempfile.TemporaryDirectory() as folder:
        fresh = generate(Path(folder))
        _, differing, missing = filecmp.cmpfiles(folder, root, fresh, shallow=False)
    orphans = {f"{FOLDER.name}/{path.name}" for path in FOLDER.glob("*_pb2*.py*")}.difference(fresh)
    return sorted({*differing, *missing, *orphans})


def _protoc(protos: Sequence[Path], *options: str) -> None:
    names = [f"{FOLDER.name}/{proto.name}" for proto in protos]
    subprocess.run([sys.executable, "-m", "grpc_tools.protoc", "-I.", *options, *names], cwd=FOLDER.parent, check=True)


def main(arguments: Sequence[str] | None = None) -> str | None:
    """Generates or checks; returns why it failed, or None."""
    parser = argparse.ArgumentParser(prog="python -m protocol.generate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing, fail when a stub is stale")
    if not parser.parse_args(arguments).check:
        generate(FOLDER.parent)
        return None
    stale = stale_stubs()
    return f"stale stubs, run `python -m protocol.generate`: {', '.join(stale)}" if stale else None


if __name__ == "__main__":
    sys.exit(main())
