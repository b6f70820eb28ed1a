"""Python code of `contract.proto`, generated when first needed.

It has the full names of our own messages, so that the two cannot be loaded in one process: stand-ins are processes.
"""

import atexit
import functools
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent


@functools.cache
def contract_stubs() -> Path:
    """A folder for PYTHONPATH that holds `contract_pb2` and `contract_pb2_grpc`."""
    folder = Path(tempfile.mkdtemp(prefix="contract-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    outputs = [f"--python_out={folder}", f"--grpc_python_out={folder}"]
    subprocess.run([sys.executable, "-m", "grpc_tools.protoc", f"-I{HERE}", *outputs, "contract.proto"], check=True)
    return folder
