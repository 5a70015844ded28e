"""Entry point of MONAI Label: it loads this file and takes the class that derives from MONAILabelApp."""

from __future__ import annotations

import sys
from pathlib import Path

_APP = Path(__file__).resolve().parent
for _folder in (_APP, _APP.parent):  # casr_label beside this file, casr_net in the bundle
    if str(_folder) not in sys.path:
        sys.path.insert(0, str(_folder))

from casr_label.children import end_with_server  # noqa: E402

end_with_server()  # in the processes for trainings, scores and batches

import casr_label.shim  # noqa: E402, F401 - before anything of MONAI Label, which imports torchvision
from casr_label.app import CASRLabelApp  # noqa: E402

__all__ = ["CASRLabelApp"]
