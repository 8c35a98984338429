"""The command line as its users see it, in this process."""

import pytest

from daskpatch.cli import main


def exit_code(*arguments):
    """What `daskpatch` with these arguments exits with."""
    with pytest.raises(SystemExit) as ended:
        main(list(map(str, arguments)))
    return ended.value.code
