"""What a service is told when it starts."""

from __future__ import annotations

from dataclasses import dataclass, field, fields


@dataclass(frozen=True)
class Settings:
    """Limits and places. Times are in seconds, sizes in bytes.

    Raises
    ------
    ValueError
        If a limit is not positive, or updates are allowed to several workers.
    """

    host: str = "127.0.0.1"
    port: int = 8000  # 0: any that is free
    workers: int = 1
    device: str = "auto"
    token: str | None = field(default=None, repr=False)  # what requests must bear; None: anyone may ask
    allow_updates: bool = False  # whether there is /v1/partial_fit
    max_body: int = 64 << 20  # of a request
    max_rows: int = 1_000_000  # of a request
    max_values: int = 20_000_000  # numbers in an answer: rows x clusters where all distances are asked for
    queue: int = 1024  # requests that wait for their answer
    queue_bytes: int = 256 << 20  # of bodies, read or half read
    connections: int = 4096  # open at a time
    timeout: float = 30.0  # from a request's last byte to its answer
    header_timeout: float = 10.0  # from a request's first byte to the end of its header
    body_timeout: float = 60.0  # for the body; and for the client to take some of an answer
    idle_timeout: float = 75.0  # between requests of one connection
    shutdown_timeout: float = 30.0  # for the answers to what was accepted
    drift_every: float = 30.0  # how often the gauges of drift are renewed
    drift_window: float = 3600.0  # how long rows count towards them

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, int | float) and not isinstance(value, bool) and each.name != "port" and not value > 0:
                raise ValueError(f"{each.name}={value!r} must be positive.")
        if not 0 <= self.port < 1 << 16:
            raise ValueError(f"port={self.port!r} must lie between 0 and 65535.")
        if self.allow_updates and self.workers > 1:
            raise ValueError(
                "Updates need a single worker: each would learn from its own share of the requests, and answers would"
                " depend on which one gives them. Use workers=1, or leave updates out."
            )
        if self.token is not None and not (self.token.isascii() and self.token.isprintable() and self.token.strip()):
            raise ValueError("The token must be printable ASCII and not empty.")
