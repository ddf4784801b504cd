"""All named hostile inputs."""

from .case import Case
from .headers import HEADERS
from .payloads import PAYLOADS
from .stored import STORED
from .tokens import TOKENS

CASES: list[Case] = [*HEADERS, *TOKENS, *PAYLOADS, *STORED]
