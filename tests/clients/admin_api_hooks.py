"""What schemathesis is told of this server beside its document: names that are there, so that calls do more than miss.

Loaded by schemathesis itself (SCHEMATHESIS_HOOKS); test_admin_api.py runs it.
"""

import os
import re

import schemathesis

STREAM = os.environ.get("ADMIN_API_STREAM", "show")
ENDED = os.environ.get("ADMIN_API_ENDED", "ended")
RUNG = os.environ.get("ADMIN_API_RUNG", "90p")


@schemathesis.hook
def before_call(context, case, kwargs):
    """Most names that are well made become names of what is live, chosen by their length so that a seed gives the same."""
    given = case.path_parameters or {}
    # What is ended comes back after a while only, so it is not the one that the other calls ask about.
    stream = ENDED if case.operation.path.endswith("/end") else STREAM
    for name, value in {"stream": stream, "rung": RUNG}.items():
        said = given.get(name)
        if isinstance(said, str) and re.fullmatch("[A-Za-z0-9_-]+", said) and (said == STREAM or len(said) % 4 != 0):
            given[name] = value
