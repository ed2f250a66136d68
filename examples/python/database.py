"""One function that a plant copies into its system: the same models on its SQLite file or on Tidemark's PostgreSQL upstream.

    engine = make_engine("sqlite:///plant.db")                                # the default
    engine = make_engine("postgresql://user:password@host:5432/shrinkage")    # as headquarters: station 0, ids below 2**32

The models stay as they are: `Integer` keys, `DateTime` without a zone and in UTC, `JSON`, `Boolean`, `Float`, `String`.
"""

import datetime
import re

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

DEFAULT_URL = "sqlite:///shrinkage.db"
# Connections kept, and how many more at most: 10 and up to 30.
POOL_KEPT, POOL_MAX = 10, 30
# PostgreSQL's number of the type `timestamp with time zone`.
TIMESTAMPTZ = 1184


def make_engine(database_url: str = DEFAULT_URL, schema: str = "shrinkage", **options) -> Engine:
    """An engine for `sqlite:///file.db` or `postgresql://user:password@host:port/database`.

    `schema` is the `name` of the Tidemark schema: the PostgreSQL schema that holds the tables. `options` go to `create_engine`. Anything
    else than these two kinds of URL is a ValueError that names the URL with its password hidden.
    """
    if database_url.startswith("sqlite:///") and len(database_url) > len("sqlite:///"):
        return create_engine(database_url, **options)
    scheme, separator, rest = database_url.partition("://")
    if separator and scheme in ("postgresql", "postgres", "postgresql+psycopg2"):
        try:
            url = make_url(f"postgresql+psycopg2://{rest}")
        except (ArgumentError, ValueError):
            url = None
        # An @ in a password is written %40; the rest of such a password would be taken for the host, and shown.
        if url is not None and url.host and url.database and "@" not in url.host:
            return _postgresql(url, schema, options)
    raise ValueError(
        f"{hide_password(database_url)} names no database: use sqlite:///file.db, sqlite:////absolute/file.db or "
        "postgresql://user:password@host:port/database (an @ in the password is written %40)"
    )


def hide_password(database_url: str) -> str:
    """The URL as it may be shown: everything between the user's name and the last @ is ***, and so are passwords among the options."""
    hidden = re.sub(r"^([^:]*://[^:@/]*):.*@", r"\1:***@", database_url, flags=re.DOTALL)
    return re.sub(r"(pass[^=&]*)=[^&]*", r"\1=***", hidden)


def _postgresql(url, schema: str, options: dict) -> Engine:
    if not re.fullmatch(r"[a-z_][a-z0-9_]*", schema):
        raise ValueError(f"{schema!r} is no name of a schema")
    # The tables are found without naming their schema, and times are written and compared as what they are: UTC.
    settings = {"options": f"-c search_path={schema} -c timezone=UTC"}
    pool = {"pool_size": POOL_KEPT, "max_overflow": POOL_MAX - POOL_KEPT, "pool_pre_ping": True}
    engine = create_engine(url, **{"connect_args": settings, **pool, **options})

    @event.listens_for(engine, "connect")
    def times_without_zone(connection, _record):
        from psycopg2.extensions import new_type, register_type

        register_type(new_type((TIMESTAMPTZ,), "UTC_WITHOUT_ZONE", _without_zone), connection)

    return engine


def _without_zone(text, cursor):
    """A `timestamptz` as the models know times: in UTC, without a zone."""
    from psycopg2.extensions import PYDATETIMETZ

    time = PYDATETIMETZ(text, cursor)
    return None if time is None else time.astimezone(datetime.timezone.utc).replace(tzinfo=None)


def is_headquarters(id: int) -> bool:
    """Whether headquarters wrote the row, and may change it: rows of stations have ids from 2**32 on, and one writer, their station."""
    return id < 2**32
