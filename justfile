# The usual commands. Each recipe calls what stands behind it: nothing needs just.

# List the recipes.
default:
    @{{just_executable()}} --list

# The main job, in a terminal.
demo *ARGS:
    cargo demo {{ARGS}}

# All tests, or those whose names contain a word; installs what they need.
test *NAMES:
    scripts/test {{NAMES}}

# The browser's tests.
test-web *FILES:
    scripts/test-web {{FILES}}

# Everything a change must pass.
ci:
    .ci/run

# Format and lint.
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --features tidemark-server/otel -- -D warnings

# Stations, networks and servers in virtual time.
simulate *ARGS='--seeds 2000':
    scripts/simulate {{ARGS}}

# Real processes, killed at random moments.
torture *ARGS='--rounds 30':
    scripts/torture {{ARGS}}

# Hostile peers against a real server.
siege *ARGS='--together --seconds 60':
    scripts/siege {{ARGS}}

# The fuzz targets, 60 s each.
fuzz *ARGS:
    scripts/fuzz {{ARGS}}

# The browser package and the notebook.
web:
    scripts/setup-web
    scripts/build-web

# The programs, optimised.
build:
    cargo build --release -p tidemark-server -p tidemark-station

# The README's picture of the demo.
picture:
    scripts/demo-picture

# All figures, on an idle machine: each of the three fails when it misses its goal.
figures: figures-push figures-move figures-web

# Push beside COPY: rows, rounds.
figures-push *ARGS='1000000 5':
    cargo run --release -p tidemark-benches --bin compare -- {{ARGS}}

# Moving a whole system.
figures-move *ARGS:
    scripts/compare-move {{ARGS}}

# The browser client beside SQLite's own.
figures-web *ARGS:
    scripts/compare-web {{ARGS}}
