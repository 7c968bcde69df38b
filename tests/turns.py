"""Which tests run beside each other where pytest-xdist has several processes for them."""

from __future__ import annotations

from pathlib import Path

from xdist.scheduler import LoadScopeScheduling

OF_THE_HOST = "the whole host"


class Turns(LoadScopeScheduling):
    """A module's tests run one after the other, and so do all modules with a test of the kernel.

    Agents of the latter see all that the host runs, and what they cost is looked at. By the text of
    the module, for the process that decides collects no tests.
    """

    def __init__(self, config: object, log: object) -> None:
        super().__init__(config, log)
        self._groups: dict[str, str] = {}

    def _split_scope(self, nodeid: str) -> str:
        module = nodeid.partition("::")[0]
        if module not in self._groups:
            text = (self.config.rootpath / Path(module)).read_text()
            self._groups[module] = OF_THE_HOST if "pytest.mark.kernel" in text else module
        return self._groups[module]
