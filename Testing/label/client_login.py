"""Run in the server's environment by test_access.py: how the module of 3D Slicer logs in (its `_client`).

Arguments: address, token.
"""

import json
import sys

from monailabel.client import MONAILabelClient
from monailabel.client.client import MONAILabelClientException

address, token = sys.argv[1], sys.argv[2]
client = MONAILabelClient(address)
found = {"enabled": client.auth_enabled()}
try:
    client.info()
except MONAILabelClientException as error:
    found["before"] = error.status_code
try:
    client.auth_token("anybody", "wrong")
except MONAILabelClientException as error:
    found["wrong"] = error.status_code
client.update_auth(client.auth_token("anybody", token))
found["valid"] = client.auth_valid_token()
found["labels"] = client.info()["labels"]
file, params = client.infer("casr_net", "grey", {"result_extension": ".nrrd"})
found["pixels"] = params["pixels"][0] > 100
print(json.dumps(found))
