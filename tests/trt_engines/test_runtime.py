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


TOGETHER = """
import sys, threading
from veilcast.trt_engines.runtime import ov
sys.setswitchinterval(1e-6)
start = threading.Barrier(8)
def ask():
    start.wait()
    ov.Type.f32.to_dtype()
threads = [threading.Thread(target=ask) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""


def test_networks_that_open_at_the_same_time_do_not_wait_for_each_other_forever() -> None:
    for _ in range(3):  # a library that was not asked once before hangs nearly every time
        subprocess.run([sys.executable, "-c", TOGETHER], check=True, timeout=20)
