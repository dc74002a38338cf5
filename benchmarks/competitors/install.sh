#!/usr/bin/env bash
# Make one environment for each competitor, under .cache/competitors/ (ignored by git).
#
#   benchmarks/competitors/install.sh            all of them
#   benchmarks/competitors/install.sh spapros    some
#
# One that fails to install is reported, and leaves its log; the others go on.
set -uo pipefail
cd "$(dirname "$0")/../.."
python=${PYTHON:-python3}
root=.cache/competitors
# The same torch as the package is tested with, first and alone, so that no other build is pulled.
torch=$(grep '^torch==' constraints.txt)

declare -A packages=(
    [spapros]="spapros==0.1.6 numpy<2.4"
    [markermap]="markermap==1.0.3 $torch"
    [lassonet]="lassonet==0.0.21 anndata $torch"
    [nsforest]="nsforest==4.1 plotly" # imports plotly without declaring it
    [scmer]="scmer==0.1.3 anndata $torch"
    [activesvc]="activeSVC==4.0.1 anndata scikit-learn"
    # Rivals of transfer.py, which runs in this environment, the package in it.
    [transfer]="celltypist==1.7.1 harmonypy==2.1.0 bbknn==1.6.0 leidenalg -c constraints.txt -e . $torch"
)

install() {
    local name=$1
    "$python" -m venv "$root/$name" || return 1
    local pip=("$root/$name/bin/python" -m pip install --no-cache-dir)
    if [[ ${packages[$name]} == *torch* ]]; then "${pip[@]}" "$torch" || return 1; fi
    # Unquoted: the words are separate requirements.
    "${pip[@]}" ${packages[$name]}
}

mkdir -p "$root"
status=0
[[ $# -gt 0 ]] || set -- "${!packages[@]}"
for name in "$@"; do
    if [[ -z ${packages[$name]:-} ]]; then
        echo "$name: unknown; known are ${!packages[*]}" >&2
        exit 2
    fi
    if install "$name" >"$root/$name.log" 2>&1; then
        echo "$name: installed"
    else
        echo "$name: failed, see $root/$name.log; its last lines:"
        tail -n 3 "$root/$name.log"
        status=1
    fi
done
exit $status
