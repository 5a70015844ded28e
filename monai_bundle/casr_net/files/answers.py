"""What goes wrong between a DICOMweb server and its client, as one kind of error with what users can do about it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import requests

from ..errors import CASRError

__all__ = ["PACSError", "asking"]

_SECRET = ": it wants a token or a password, or another one"
REFUSALS: dict[Any, str] = {401: _SECRET, 403: _SECRET, 404: ": is it the address of a DICOMweb service?"}
"""What may be behind an HTTP status."""


class PACSError(CASRError):
    """The server did not answer, or refused; the request may be sent again."""


@contextlib.contextmanager
def asking(url: str, seconds: float) -> Iterator[None]:
    """Whatever goes wrong inside is a :class:`PACSError`.

    Args:
        url: of the server, which the error names.
        seconds: that an answer may take.
    """
    try:
        yield
    except requests.HTTPError as error:
        status = error.response.status_code if error.response is not None else "unknown"
        raise PACSError(f"{url}: answered with HTTP status {status}{REFUSALS.get(status, '')}.") from error
    except requests.exceptions.SSLError as error:
        raise PACSError(
            f"{url}: no usable answer: its certificate is not trusted; REQUESTS_CA_BUNDLE names the file of those that "
            "are."
        ) from error
    except requests.ReadTimeout as error:
        raise PACSError(f"{url}: no usable answer: none came within {seconds:.0f} s.") from error
    except (requests.ConnectionError, requests.Timeout) as error:
        raise PACSError(
            f"{url}: no usable answer: no connection, or it broke; is the address right, and the server running?"
        ) from error
    except Exception as error:  # an answer of a foreign program: parsers raise whatever they like on it
        raise PACSError(
            f"{url}: no usable answer ({type(error).__name__}); is it the address of a DICOMweb service?"
        ) from error
