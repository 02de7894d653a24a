import subprocess
import sys

LOADED = """
import sys
import veilcast.trt_engines.openvino_engine
print([name for name in sys.modules if "telemetry" in name or name.startswith("openvino.tools.ovc")])
from openvino.tools.ovc import convert_model
print(convert_model.__name__)
"""


def test_inference_does_not_report_to_the_maker_of_its_library() -> None:
    done = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True)
    nothing, converter = done.stdout.split("\n")[:2]
    assert nothing == "[]"
    assert converter == "convert_model"  # for a program that wants it
