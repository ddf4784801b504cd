"""All named hostile inputs."""

from .case import Case
from .headers import HEADERS
from .tokens import TOKENS

CASES: list[Case] = [*HEADERS, *TOKENS]
