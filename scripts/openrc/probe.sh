#!/bin/bash
# Runs in a Debian with OpenRC and nothing but a loopback: the services of packaging/openrc/ are
# started, killed and stopped.
set -euxo pipefail
exec </dev/null
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
mount -t tmpfs tmpfs /run

until_true() { for _ in $(seq 600); do "$@" && return; sleep 0.1; done; false; }
fails() { ! "$@"; } # "!" alone ends no script
# The process of a service, and not the one that watches over it.
process_of() {
  local file
  for file in /proc/[0-9]*/cmdline; do
    [[ $(tr '\0' ' ' <"$file" 2>/dev/null) == "/usr/bin/$1 "* ]] && basename "${file%/cmdline}"
  done
  return 0
}
user_of() { stat -c %U "/proc/$(process_of "$1")"; }
restarted() { [[ -n $(process_of broker) && $(process_of broker) != "$1" ]]; }

for user in workqueue-broker workqueue; do
  useradd --system --no-create-home --shell /usr/sbin/nologin "$user"
done
mkdir -p /etc/workqueue/worker /etc/conf.d /run/openrc
# Nobody has booted: OpenRC makes its folders when it is asked for something.
rc-status --all >/dev/null 2>&1 || true
touch /run/openrc/softlevel /etc/workqueue/broker.conf
echo 'shell = (id -un; pwd) >"$TASK_ID.part" && mv "$TASK_ID.part" "$TASK_ID"' \
  >/etc/workqueue/worker/files.conf
echo 'export AMQP_URL=amqp://127.0.0.1/' >/etc/conf.d/worker.files
ln -s worker /etc/init.d/worker.files

rc-service broker start
until_true test -e /var/lib/workqueue-broker/broker.db
[[ $(stat -c %U:%a /var/lib/workqueue-broker) == workqueue-broker:700 ]]
[[ $(user_of broker) == workqueue-broker ]]
fails rc-service worker start
rc-service worker.files start
until_true new_task --queue files --id one --quiet x
until_true test -e /var/lib/workqueue/files/one
[[ $(</var/lib/workqueue/files/one) == $'workqueue\n/var/lib/workqueue/files' ]]

# One that is killed is started again, and has lost nothing.
new_task --queue waits --quiet x
before=$(process_of broker)
kill -KILL "$before"
until_true restarted "$before"
until_true new_task --queue files --id two --quiet x
until_true test -e /var/lib/workqueue/files/two
worker queues --queue waits | awk '$1 == "waits" { print $2 }' | grep -qx 1

rc-service worker.files stop
rc-service broker stop
[[ -z $(process_of worker)$(process_of broker) ]]
echo "all of it went well"
