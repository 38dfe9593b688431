#!/bin/bash
# Runs in a Debian with systemd and nothing but a loopback: the package is installed, used, upgraded
# while tasks wait, removed and purged. /probe has both packages; $1 is the version of the new one.
set -euxo pipefail
exec </dev/null
export PATH=/usr/sbin:/usr/bin:/sbin:/bin

waiting() { worker queues --queue "$1" | awk -v queue="$1" '$1 == queue { print $2 }'; }
until_true() { for _ in $(seq 600); do "$@" && return; sleep 0.1; done; false; }
fails() { ! "$@"; } # "!" alone ends no script
active() { [[ $(systemctl is-active "$1") == active ]]; }

# An ordinary user of that name was there before.
useradd --uid 4711 workqueue
dpkg -i /probe/old.deb
[[ $(id -u workqueue) == 4711 ]]
worker --version | grep -F 'worker 0.'
# Nobody asked for a broker yet.
[[ $(systemctl is-active broker) == inactive ]]
systemctl enable --now broker
systemctl status --no-pager --lines 0 broker
[[ $(systemctl show -P StatusText broker) == "no connections" ]]
[[ $(stat -c %U:%a /var/lib/workqueue-broker) == workqueue-broker:700 ]]

seq 10000 | new_task --queue waits --lines --quiet
[[ $(waiting waits) == 10000 ]]
echo 'shell = touch "$TASK_ID"' >/etc/workqueue/worker/my-files.conf
systemctl enable --now worker@my-files
new_task --queue my-files --id before x
until_true test -e /var/lib/workqueue/my-files/before
[[ $(stat -c %U /var/lib/workqueue/my-files/before) == workqueue ]]

echo '{"cron": "* * * * *", "second": "*", "body": "tick"}' >/etc/workqueue/ticks
printf 'schedule /etc/workqueue/ticks\nqueue ticks\nstate last\n' >/etc/workqueue/new_task/ticks.conf
systemctl enable --now new_task@ticks
ticked() { [[ $(waiting ticks) == +([0-9]) && $(waiting ticks) -gt $1 ]]; }
until_true ticked 1
[[ -e /var/lib/workqueue-new_task/ticks/last ]]
systemctl reload new_task@ticks
active new_task@ticks

# What somebody changed stays, and what ran goes on, with the new version.
echo '# changed' >>/etc/workqueue/broker.conf
before=$(systemctl show -P MainPID broker)
dpkg -i /probe/new.deb
until_true active broker
until_true active worker@my-files
until_true active new_task@ticks
before_ticks=$(waiting ticks)
until_true ticked "$before_ticks"
[[ $(systemctl show -P MainPID broker) != "$before" ]]
[[ $(dpkg-query -W -f '${Version}' workqueue) == "$1" ]]
grep -q '# changed' /etc/workqueue/broker.conf
[[ $(waiting waits) == 10000 ]]
new_task --queue my-files --id after x
until_true test -e /var/lib/workqueue/my-files/after

# One that is killed is started again, and has lost nothing.
systemctl kill --signal KILL --kill-whom main broker
until_true active broker
until_true new_task --queue my-files --id killed --quiet x
until_true test -e /var/lib/workqueue/my-files/killed
[[ $(waiting waits) == 10000 ]]
worker --queue waits --exit-when-empty --concurrency 100 | grep -c Done | grep -qx 10000
[[ $(waiting waits) == 0 ]]

# What root restores the broker may use. Without TLS a reload is a restart.
broker backup --data /var/lib/workqueue-broker /var/backups/workqueue
systemctl stop broker
rm /var/lib/workqueue-broker/broker.db
broker restore --data /var/lib/workqueue-broker /var/backups/workqueue
systemctl start broker
before=$(systemctl show -P MainPID broker)
systemctl reload broker
restarted() { active broker && [[ $(systemctl show -P MainPID broker) != "$before" ]]; }
until_true restarted

# A mistake in the options is not tried again and again.
echo 'no-such-option' >/etc/workqueue/worker/wrong.conf
fails systemctl start worker@wrong
[[ $(systemctl show -P ExecMainStatus worker@wrong) == 64 ]]
[[ $(systemctl show -P NRestarts worker@wrong) == 0 ]]

dpkg -r workqueue
[[ $(systemctl is-active broker) == inactive ]]
[[ $(systemctl is-active worker@my-files) == inactive ]]
[[ $(systemctl is-active new_task@ticks) == inactive ]]
[[ -e /etc/workqueue/broker.conf && -d /var/lib/workqueue-broker ]]
fails command -v worker
dpkg -P workqueue
[[ ! -e /etc/workqueue && ! -e /var/lib/workqueue-broker && ! -e /var/lib/workqueue ]]
[[ ! -e /var/lib/workqueue-new_task ]]
fails dpkg-query -W workqueue
echo "all of it went well"
