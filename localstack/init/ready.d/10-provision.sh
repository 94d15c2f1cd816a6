#!/usr/bin/env bash
# Creates the queues, tables, buckets and schedule groups that the application TASKQ_APP declares. LocalStack runs this
# script once it is ready. Existing resources are kept, so the script can be run again.
set -euo pipefail
python=${TASKQ_PYTHON:-}
if [ -z "$python" ]; then
  # A separate environment, because LocalStack's own interpreter has other versions of the packages that we need.
  folder=$(mktemp -d)
  python3 -m venv "$folder/venv"
  "$folder/venv/bin/pip" install --quiet --disable-pip-version-check "$TASKQ_REQUIREMENTS"
  python=$folder/venv/bin/python
fi
# An empty variable would be a wrong setting, so empty variables are removed.
for name in TASKQ_SCHEDULER TASKQ_PAYLOADS; do [ -n "${!name:-}" ] || unset "$name"; done
export AWS_ENDPOINT_URL=${AWS_ENDPOINT_URL:-http://127.0.0.1:4566}
export AWS_ACCESS_KEY_ID=${AWS_ACCESS_KEY_ID:-test} AWS_SECRET_ACCESS_KEY=${AWS_SECRET_ACCESS_KEY:-test}
cd "${TASKQ_FOLDER:-/srv/app}"
"$python" -m taskq_cloud -A "$TASKQ_APP" provision
