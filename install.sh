#!/bin/bash
# Installs, upgrades and removes ecluse on Debian 12 and 13. Run it as root from an unpacked bundle (`make bundle`), or from a checkout.
#
# Rules of this file:
#  1. What can fail is done before anything that runs is touched: a release is built beside the running one and asked to read the
#     host's files and its ledger. Then one link is moved, and moved back if the new release does not get healthy.
#  2. Neither an upgrade nor a failure removes a rule. Only --uninstall does, since nobody would be left to lift it.
#  3. A person's stop is a stop: an agent that was stopped by hand is upgraded and stays stopped.
#  4. What an operator wrote in /etc/ecluse is never overwritten.
# Exit codes: 0 done, 1 failed, 2 wrong option or file, 3 refused.
set -euo pipefail
umask 022

language=${LC_ALL:-${LC_MESSAGES:-${LANG:-}}}
export LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive
unset "${!PIP_@}" "${!PYTHON@}" "${!ECLUSE_@}"

here=$(cd "$(dirname "$(readlink -f "$0")")" && pwd)
opt=/opt/ecluse etc=/etc/ecluse state=/var/lib/ecluse
units=/usr/local/lib/systemd/system
program=/usr/local/bin/ecluse
manual=/usr/local/share/man/man1/ecluse.1.gz
bash_completion=/usr/local/share/bash-completion/completions/ecluse
zsh_completion=/usr/local/share/zsh/site-functions/_ecluse
fish_completion=/usr/local/share/fish/vendor_completions.d/ecluse.fish
healthy_seconds=150

dry='' force='' purge='' action=install
services=()
schema='' known='' kept='' said=''

# say FRENCH ENGLISH
say() { case $language in fr*) printf '%s\n' "$1" ;; *) printf '%s\n' "$2" ;; esac; }
stop() { local code=$1; shift; say "$@" >&2; exit "$code"; }
# Everything that changes the host goes through here.
run() { if [ -n "$dry" ]; then printf '  %s\n' "$*"; else "$@"; fi; }

usage() {
  say "Usage : install.sh [--dry-run] [--force]     installer ou mettre à niveau
        install.sh --uninstall [--purge]    désinstaller ; le registre et la configuration restent, sauf avec --purge
        install.sh --demo                   la démonstration, dans des espaces réseau à part ; rien n'est installé
        install.sh --version | --help

  --dry-run  dire ce qui serait fait, et ne rien faire
  --force    aussi sur un système autre que Debian 12 ou 13" \
  "Usage: install.sh [--dry-run] [--force]     install or upgrade
       install.sh --uninstall [--purge]    remove; the ledger and the configuration stay, unless --purge is given
       install.sh --demo                   the demonstration, in network namespaces of its own; nothing is installed
       install.sh --version | --help

  --dry-run  say what would be done, and do nothing
  --force    on another system than Debian 12 or 13, too"
}

version() {
  if [ -f "$here/VERSION" ]; then cat "$here/VERSION"; else sed -n 's/^__version__ = "\(.*\)"$/\1/p' "$here/agent/__init__.py"; fi
}

# --- what must be so before anything is done -----------------------------------------------------------------------

check_root() {
  [ "$(id -u)" = 0 ] || stop 3 "Il faut être root : sudo $0" "This takes root: sudo $0"
}

check_system() {
  local id='' release=''
  # shellcheck source=/dev/null
  [ ! -r /etc/os-release ] || { id=$(. /etc/os-release; echo "${ID:-}"); release=$(. /etc/os-release; echo "${VERSION_ID:-}"); }
  case "$id $release" in
    'debian 12' | 'debian 13') ;;
    *) [ -n "$force" ] || stop 3 \
      "Ce système est « ${id:-inconnu} ${release:-} ». ecluse s'installe sur Debian 12 et 13, où il est essayé ; --force pour passer outre." \
      "This system is \"${id:-unknown} ${release:-}\". ecluse is for Debian 12 and 13, where it is tested; --force to go on all the same." ;;
  esac
  [ -d /run/systemd/system ] || stop 3 \
    "systemd ne dirige pas ce système : les unités ne pourraient pas démarrer." \
    "systemd does not run this system: the units could not start."
}

check_bundle() {
  (cd "$here" && sha256sum --quiet --strict -c SHA256SUMS) >&2 || stop 2 \
    "$here : des fichiers manquent ou ont changé. Reprenez l'archive d'origine." \
    "$here: files are missing or were changed. Take the original archive again."
}

# Debian's own packages. Both are on every usual Debian; without internet they must be.
check_packages() {
  local missing=() name
  for name in python3 libnftables1; do
    dpkg-query -W -f '${Status}' "$name" 2>/dev/null | grep -q 'ok installed' || missing+=("$name")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  say "Paquets Debian à ajouter : ${missing[*]}" "Debian packages to add: ${missing[*]}"
  run apt-get update -qq
  run apt-get install -y -qq --no-install-recommends "${missing[@]}" || stop 1 \
    "apt-get n'a pas pu installer ${missing[*]}. Sans internet, installez-les d'abord depuis vos miroirs." \
    "apt-get could not install ${missing[*]}. Without internet, install them first from your mirrors."
}

# --- parts -----------------------------------------------------------------------------------------------------------

# venv DIRECTORY: this bundle's program, with nothing that is not locked by hash. pip comes from the bundle and does not stay.
venv() {
  local pip
  pip=$(echo "$here"/wheels/pip-*.whl)
  python3 -m venv --without-pip "$1"
  set -- env PYTHONPATH="$pip" PIP_CONFIG_FILE=/dev/null "$1/bin/python" -m pip install -q --no-index --no-cache-dir \
    --disable-pip-version-check --root-user-action ignore
  "$@" --find-links "$here/wheels" --require-hashes -r "$here/requirements/run.txt"
  "$@" --no-deps "$here"/wheels/ecluse-*.whl
}

# A release is complete when its mark is there; one that was interrupted is built anew.
build_release() {
  [ ! -e "$opt/$release/.complete" ] || return 0
  say "Construction de $opt/$release" "Building $opt/$release"
  [ -z "$dry" ] || return 0
  rm -rf "${opt:?}/$release"
  mkdir -p "$opt/$release"
  venv "$opt/$release"
  local share=$opt/$release/share/ecluse
  mkdir -p "$share"
  cp -r "$here"/{VERSION,SHA256SUMS,LICENSE,systemd,etc,examples,docs,ecluse.1.gz} "$share/"
  chmod -R u=rwX,go=rX "$opt/$release"
  "$opt/$release/bin/ecluse" --version | grep -qF "$(version)" || stop 1 \
    "La version construite ne démarre pas ; rien n'a été changé." "The release that was built does not start; nothing was changed."
  touch "$opt/$release/.complete"
}

make_users() {
  run systemd-sysusers "$here/systemd/ecluse.sysusers"
}

# place MODE OWNER:GROUP FILE TARGET: a file of /etc/ecluse, unless there is one
place() {
  [ ! -e "$4" ] || return 0
  run install -m "$1" -o "${2%:*}" -g "${2#*:}" "$3" "$4"
}

make_configuration() {
  run install -d -m 0755 "$etc"
  run install -d -m 0750 -o root -g ecluse "$etc/policies"
  run install -d -m 0700 "$etc/secrets"
  local file
  if [ ! -e "$etc/ecluse.yaml" ]; then
    for file in "$here"/etc/policies/*.yaml; do place 0640 root:ecluse "$file" "$etc/policies/${file##*/}"; done
    place 0640 root:ecluse-serve "$here/etc/sources.yaml" "$etc/sources.yaml"
    if [ ! -e "$etc/secrets/billing" ]; then
      say "Un secret neuf pour le système de facturation : $etc/secrets/billing" "A new secret for the billing system: $etc/secrets/billing"
      [ -n "$dry" ] || (umask 077; printf 'whsec_%s\n' "$(head -c 32 /dev/urandom | base64)" >"$etc/secrets/billing")
    fi
    place 0644 root:root "$here/etc/ecluse.yaml" "$etc/ecluse.yaml"
  fi
}

# The new program reads what is here, before it is let near it.
check_files() {
  [ -z "$dry" ] || return 0
  "$opt/$release/bin/ecluse" check --config "$etc/ecluse.yaml" --secrets >/dev/null || stop 2 \
    "La version $(version) refuse ces fichiers ; rien n'a été changé, la version en place continue." \
    "Version $(version) refuses these files; nothing was changed, the running version goes on."
}

# ledger_says QUERY: one value from the ledger, read as its owner, so that no file of root's appears beside it
ledger_says() {
  setpriv --reuid=ecluse-enforce --regid=ecluse-enforce --clear-groups --no-new-privs python3 -I -c '
import sqlite3, sys
print(sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True).execute(sys.argv[2]).fetchone()[0])' "$state/ledger.db" "$1"
}

# What others said; what the agent notes of itself at each start does not count.
facts() { ledger_says "SELECT count(*) FROM events WHERE type NOT IN ('agent.started', 'policy.loaded', 'policy.rejected')"; }

check_ledger() {
  [ -z "$dry" ] && [ -e "$state/ledger.db" ] || return 0
  schema=$(ledger_says 'PRAGMA user_version') || stop 1 "$state/ledger.db ne peut pas être lu." "$state/ledger.db can not be read."
  known=$("$opt/$release/bin/python" -I -c 'from agent.ledger.schema import VERSION; print(VERSION)')
  [ "$schema" -le "$known" ] || stop 3 \
    "Le registre est d'une version plus récente ($schema) que celle que connaît $(version) ($known) : pas de retour en arrière. Rien n'a été changé." \
    "The ledger is of a newer version ($schema) than $(version) knows ($known): no downgrade. Nothing was changed."
}

# A new version may bring the ledger to a form that the former one can not read. Then a copy is kept, taken while nobody writes; the
# rules stay meanwhile.
keep_ledger() {
  [ -n "$schema" ] && [ "$schema" -lt "$known" ] || return 0
  systemctl stop ecluse-enforce.service
  kept=$state/ledger.db.before-$(version)
  cp --preserve=mode,ownership "$state/ledger.db" "$kept"
  sync "$kept"
  said=$(facts)
}

# The former version gets its ledger back, unless the new one has taken facts in the meantime: those must not be lost.
put_back_ledger() {
  [ -n "$kept" ] && [ "$(ledger_says 'PRAGMA user_version')" != "$schema" ] || return 0
  systemctl stop ecluse-enforce.service 'ecluse-again@ecluse-enforce.timer'
  [ "$(facts)" = "$said" ] || stop 1 \
    "La version $(version) a déjà inscrit des faits dans un registre que $former ne peut pas lire ; pas de retour. L'agent est arrêté, les règles restent et leurs baux courent. La copie d'avant : $kept" \
    "Version $(version) has already recorded facts in a ledger that $former can not read; no going back. The agent is stopped, the rules stay and their leases run. The copy from before: $kept"
  rm -f "$state/ledger.db-wal" "$state/ledger.db-shm"
  mv "$kept" "$state/ledger.db"
}

# put RELEASE: make a release the one that runs, with its units. The link moves in one step.
put() {
  local share=$opt/$1/share/ecluse unit
  [ -z "$dry" ] || share=$here
  know_services "$share/systemd"
  run ln -sfn "$1" "$opt/.current"
  run mv -T "$opt/.current" "$opt/current"
  run install -d "$units" "${program%/*}" "${manual%/*}"
  for unit in "$units"/ecluse*; do
    [ ! -e "$unit" ] || [ -e "$share/systemd/${unit##*/}" ] || run rm -f "$unit"
  done
  for unit in "$share"/systemd/*.{service,socket,target,timer}; do
    run install -m 0644 "$unit" "$units/${unit##*/}"
  done
  run ln -sfn "$opt/current/bin/ecluse" "$program"
  run install -m 0644 "$share/ecluse.1.gz" "$manual"
  complete bash "$bash_completion"
  complete zsh "$zsh_completion"
  complete fish "$fish_completion"
  run systemctl daemon-reload
}

complete() {
  run install -d "${2%/*}"
  [ -n "$dry" ] || _ECLUSE_COMPLETE=$1_source "$program" >"$2" 2>/dev/null || rm -f "$2"
}

# know_services DIRECTORY: the roles that a release has
know_services() {
  local unit
  services=()
  for unit in "$1"/ecluse-*.service; do services+=("${unit##*/}"); done
}

is_active() { systemctl is-active -q "$1"; }
all_active() { local each; for each in "${services[@]}"; do is_active "$each" || return 1; done; }

# Healthy: all roles said that they are ready, stay up, and the enforcer answers as the version that is meant.
healthy() {
  local wanted=$1 until=$((SECONDS + healthy_seconds)) before now calm=0
  before=''
  while [ $SECONDS -lt $until ]; do
    now=$(systemctl show -P MainPID "${services[@]}" | paste -sd ' ')
    if all_active && [ "$now" = "$before" ] && answers "$wanted"; then
      calm=$((calm + 1))
      [ $calm -lt 3 ] || return 0
    else
      calm=0
    fi
    # Not only between two tries: it gave up for a minute.
    if systemctl is-failed -q ecluse-enforce.service; then return 1; fi
    before=$now
    sleep 1
  done
  return 1
}

answers() {
  "$program" status --json 2>/dev/null | "$opt/current/bin/python" -I -c '
import json, sys
data = json.load(sys.stdin)["data"]
sys.exit(data["version"] != sys.argv[1] or not data["kernel"]["last_good_cycle"])' "$1" 2>/dev/null
}

start_roles() {
  # --no-block: a role that does not get ready must not keep us from looking, and from going back.
  systemctl reset-failed 'ecluse-*' 2>/dev/null || true
  systemctl restart --no-block "${services[@]}"
}

tell_journal() { journalctl -q --no-pager -n 20 "${services[@]/#/-u}" >&2 2>/dev/null || true; }

# --- install and upgrade ---------------------------------------------------------------------------------------------

go_back() {
  trap - EXIT
  tell_journal
  say "La version $(version) ne fonctionne pas ici ; retour à $former." "Version $(version) does not work here; going back to $former." >&2
  put_back_ledger
  put "$former"
  start_roles
  if healthy "$(cat "$opt/$former/share/ecluse/VERSION")"; then
    stop 1 "La version précédente fonctionne de nouveau. Les règles sont restées." "The former version runs again. The rules stayed."
  fi
  stop 1 "La version précédente ne démarre pas non plus. Les règles sont restées, leurs baux courent : journalctl -u ecluse-enforce" \
    "The former version does not start either. The rules stayed, and their leases run: journalctl -u ecluse-enforce"
}

install_or_upgrade() {
  check_root
  check_system
  if [ ! -f "$here/SHA256SUMS" ]; then  # a checkout: its bundle first
    say "Préparation de l'archive" "Making the bundle"
    make -s -C "$here" bundle >/dev/null
    exec "$here/dist/ecluse-$(version)/install.sh" ${dry:+--dry-run} ${force:+--force}
  fi
  check_bundle
  exec 9<"${opt%/*}"
  flock -n 9 || stop 1 "Une autre installation est en cours." "Another installation is running."
  release=$(version)-$(sha256sum "$here/SHA256SUMS" | cut -c1-8)
  former=$(readlink "$opt/current" 2>/dev/null || true)
  [ -z "$dry" ] || say "Ce qui serait fait :" "What would be done:"

  check_packages
  build_release
  make_users
  make_configuration
  check_files
  check_ledger

  if [ "$former" = "$release" ] && unchanged; then
    know_services "$units"
    is_active ecluse.target || stop 0 "ecluse $(version) est installé, et arrêté." "ecluse $(version) is installed, and stopped."
    healthy "$(version)" || { tell_journal; stop 1 "ecluse $(version) est installé mais ne fonctionne pas." "ecluse $(version) is installed but does not work."; }
    say "ecluse $(version) est installé et fonctionne." "ecluse $(version) is installed and runs."
    exit 0
  fi

  local stopped=''
  if [ -n "$former" ] && ! is_active ecluse.target; then stopped=yes; fi
  if [ -n "$former" ] && [ "$former" != "$release" ] && [ -z "$stopped" ] && [ -z "$dry" ]; then trap go_back EXIT; fi
  if [ -n "$former" ] && [ -z "$stopped" ] && [ -z "$dry" ]; then keep_ledger; fi
  local socket_before='' socket_after
  [ ! -e "$units/ecluse-serve.socket" ] || socket_before=$(cat "$units/ecluse-serve.socket")
  put "$release"
  [ -n "$dry" ] || socket_after=$(cat "$units/ecluse-serve.socket")

  if [ -z "$former" ]; then
    run systemctl enable -q ecluse.target
    run systemctl start --no-block ecluse.target
  elif [ -n "$stopped" ]; then
    say "Mis à niveau ; l'agent était arrêté et le reste : systemctl start ecluse.target" \
      "Upgraded; the agent was stopped and stays so: systemctl start ecluse.target"
  elif [ -z "$dry" ]; then
    [ "$socket_before" = "$socket_after" ] || systemctl restart ecluse-serve.socket
    start_roles
    systemctl start --no-block ecluse.target  # roles that are new in this release
  else
    run systemctl restart "${services[@]}"
  fi
  [ -z "$dry" ] || exit 0
  if [ -z "$stopped" ] && ! healthy "$(version)"; then
    [ -z "$former" ] || [ "$former" = "$release" ] || go_back
    tell_journal
    stop 1 "ecluse $(version) est installé mais ne fonctionne pas ; les lignes ci-dessus disent pourquoi." \
      "ecluse $(version) is installed but does not work; the lines above say why."
  fi
  trap - EXIT
  [ -z "$kept" ] || rm -f "$kept"
  forget_old
  say "ecluse $(version) est installé." "ecluse $(version) is installed."
  [ -n "$stopped" ] || LC_ALL=$language "$program" status || true
}

# Units and the link are as this release has them.
unchanged() {
  local unit
  for unit in "$opt/$release"/share/ecluse/systemd/*.{service,socket,target,timer}; do
    cmp -s "$unit" "$units/${unit##*/}" || return 1
  done
  [ "$(readlink "$program")" = "$opt/current/bin/ecluse" ]
}

# The release before this one stays, so that it can be put back by hand.
forget_old() {
  local each
  for each in "$opt"/*/; do
    each=${each%/}
    case ${each##*/} in current | "$release" | "${former:-$release}") ;; *) rm -rf "$each" ;; esac
  done
}

# --- uninstall -------------------------------------------------------------------------------------------------------

uninstall() {
  check_root
  [ -z "$dry" ] || say "Ce qui serait fait :" "What would be done:"
  know_services "$units"
  if is_active ecluse-enforce.service; then
    # So that the ledger tells it, and nothing comes back before a person says so.
    run "$program" clear --yes --reason "uninstalled by ${SUDO_USER:-root}" >/dev/null || true
  fi
  run systemctl disable -q --now ecluse.target ecluse-metrics.socket 2>/dev/null || true
  run systemctl stop ecluse-serve.socket ecluse-probe.socket "${services[@]}" 'ecluse-again@*.timer' 2>/dev/null || true
  remove_table
  local each
  for each in "$units"/ecluse* "$program" "$manual" "$bash_completion" "$zsh_completion" "$fish_completion" "$opt" /run/ecluse /run/ecluse-probe; do
    if [ -e "$each" ] || [ -L "$each" ]; then run rm -rf "$each"; fi
  done
  run systemctl daemon-reload
  run systemctl reset-failed 'ecluse-*' 2>/dev/null || true
  if [ -z "$purge" ]; then
    say "ecluse est retiré, et avec lui ses règles. Restent $etc et $state (le registre) ; --purge les efface aussi." \
      "ecluse is removed, and its rules with it. $etc and $state (the ledger) stay; --purge removes them as well."
    return
  fi
  run rm -rf "$etc" "$state"
  for each in ecluse-serve ecluse-enforce ecluse-probe; do
    if getent passwd "$each" >/dev/null; then run userdel "$each"; fi
  done
  for each in ecluse-serve ecluse-enforce ecluse-probe ecluse; do
    if getent group "$each" >/dev/null; then run groupdel "$each"; fi
  done
  say "ecluse est retiré, avec son registre et sa configuration." "ecluse is removed, with its ledger and its configuration."
}

# Nobody is left to lift a rule or renew a lease. libnftables is what we were using; the nft program may not be there.
remove_table() {
  [ -x "$opt/current/bin/python" ] || return 0
  run "$opt/current/bin/python" -I -c '
from agent.kernel.nft import NftKernel
from agent.rules import Change
NftKernel().apply(Change(remove_table=True))' || say \
    "La table inet ecluse n'a pas pu être retirée : nft delete table inet ecluse" \
    "The table inet ecluse could not be removed: nft delete table inet ecluse" >&2
}

# --- the demonstration -------------------------------------------------------------------------------------------------

demo() {
  check_root
  if [ ! -f "$here/SHA256SUMS" ]; then exec make -s -C "$here" demo; fi
  check_bundle
  local name
  for name in python3 nft ip; do
    command -v "$name" >/dev/null || stop 1 "Il manque $name (paquets python3, nftables, iproute2)." "$name is missing (packages python3, nftables, iproute2)."
  done
  room=$(mktemp -d)
  trap 'rm -rf "$room"' EXIT
  venv "$room/venv"
  LC_ALL=$language "$room/venv/bin/ecluse" demo
}

while [ $# -gt 0 ]; do
  case $1 in
    --dry-run) dry=yes ;;
    --force) force=yes ;;
    --purge) purge=yes ;;
    --uninstall) action=uninstall ;;
    --demo) action=demo ;;
    --version) version; exit 0 ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; stop 2 "Option inconnue : $1" "Unknown option: $1" ;;
  esac
  shift
done
[ -z "$purge" ] || [ $action = uninstall ] || stop 2 "--purge va avec --uninstall." "--purge goes with --uninstall."
case $action in
  install) install_or_upgrade ;;
  uninstall) uninstall ;;
  demo) demo ;;
esac
