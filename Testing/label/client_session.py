"""Run in the server's environment by test_client.py: MONAI Label's own client, as 3D Slicer's plugin uses it.

Arguments: address, folder for results, image of the studies folder, file that the server does not have.
"""

import json
import sys
from pathlib import Path

from monailabel.client import MONAILabelClient

address, folder, image, local = sys.argv[1], Path(sys.argv[2]), sys.argv[3], sys.argv[4]
client = MONAILabelClient(address, tmpdir=str(folder))
info = client.info()
sample = client.next_sample("first", {})
file, params = client.infer("casr_net", image, {"result_extension": ".nrrd", "result_dtype": "uint8"})
saved = client.save_label(sample["id"], file, "final", {"label_info": [{"name": "coronary artery", "idx": 1}]})
session = client.create_session(local)["session_id"]
of_session, _ = client.infer("casr_net", "", {"result_extension": ".nrrd"}, session_id=session)
print(
    json.dumps(
        {
            "labels": info["models"]["casr_net"]["labels"], "sample": sample["id"], "file": str(file), "params": params,
            "saved": saved, "of_session": str(of_session),
        }
    )
)  # fmt: skip
