#!/bin/sh
# The scenario of clients_test.ts with amqp-tools, one process a step; they know neither confirms
# nor nack: a consumer that fails leaves its message to be given again.
# Usage: amqp_tools_client.sh URL PREFIX
set -eu
url=$1 work=$2.work dead=$2.dead

amqp-declare-queue --url="$url" --queue="$dead" --durable >/dev/null
amqp-declare-queue --url="$url" --queue="$work" --durable >/dev/null
for body in one two three; do
  amqp-publish --url="$url" --routing-key="$work" --persistent --body="$body"
done
echo "published 3"

echo "got $(amqp-get --url="$url" --queue="$work")"
amqp-consume --url="$url" --queue="$work" --count=1 -- false || true
amqp-consume --url="$url" --queue="$work" --count=2 -- sh -c 'echo "got $(cat)"'
amqp-get --url="$url" --queue="$work" || echo "empty"
amqp-publish --url="$url" --routing-key="$work" --persistent --body=four
echo "ready"

read -r _
until amqp-publish --url="$url" --routing-key="$work" --persistent --body=five 2>/dev/null; do
  sleep 0.1
done
amqp-consume --url="$url" --queue="$work" --count=2 -- sh -c 'echo "after $(cat)"'
amqp-delete-queue --url="$url" --queue="$work" >/dev/null
echo "done"
