"""Arrays with their element type and shape: `Float32[np.ndarray, "h w 3"]`.

The notation is jaxtyping's, and so is what it means to readers. Type checkers see the array alone, and at run
time there is nothing behind the names: that library takes as long to import as OpenCV does.
"""

from typing import Annotated as Bool
from typing import Annotated as Float
from typing import Annotated as Float16
from typing import Annotated as Float32
from typing import Annotated as Float64
from typing import Annotated as Int
from typing import Annotated as Int32
from typing import Annotated as Int64
from typing import Annotated as Shaped
from typing import Annotated as UInt8

__all__ = ["Bool", "Float", "Float16", "Float32", "Float64", "Int", "Int32", "Int64", "Shaped", "UInt8"]
