#!/usr/bin/env bash
# The shop, from nothing: installs what is missing, builds a release into build/, runs a thousand orders through it, kills
# the broker in the middle, and says what came of it.
#
#   customers (post_orders.py) -> shop_server -> jobq-broker -> receipt_worker -> mail server (smtp_server.py)
#                                                            `-> jobq-worker   -> take_from_stock.sh, the warehouse
#
# Each order is three jobs: its receipt, what the warehouse has to do, and, a while later, a mail that asks how it was.
# The warehouse does not know one of the articles, so its jobs end among the dead, and are worked through at the end.
#
# Exits 0 when every promise held, 1 when not. Leaves no process behind. A second run takes well under 30 seconds.
#   --keep   keep the directory with all logs, mails and the broker's data (always kept when something failed)
#
# About duplicates: a job is done at least once. A *worker* that dies between the mail server's OK and its own ack leaves
# a receipt that was sent and is sent again, with the same Message-ID; no broker can prevent that. This script kills the
# *broker*, where the promise is: exactly once.
set -euo pipefail
cd "$(dirname "$0")/.."

keep=no
case "${1:-}" in
  '') ;;
  --keep) keep=yes ;;
  *) echo "quickstart.sh: '$1' is not an option; use --keep or nothing" >&2; exit 64 ;;
esac

export LC_ALL=C.UTF-8 HOME="${HOME:-/root}"
python=/usr/bin/python3  # Debian's: it has the SMTP server's library
say() { printf '\n[%2d s] %s\n' "$SECONDS" "$*"; }

# ---- processes: every one is in this list until it has been waited for ----------------------------
dir=
pids=()

# start NAME COMMAND...: in the background, output to a log; dies with this script even if that is killed with -9. The
# kernel sends the signal only if it was asked before the script died: hence the look at the parent afterwards.
start() {
  local name=$1; shift
  setpriv --pdeathsig KILL "$BASH" -c '[ "$PPID" = "$0" ] && exec "$@"' "$$" "$@" >>"$dir/$name.log" 2>&1 </dev/null &
  started=$!
  pids+=("$started")
}

# stop SIGNAL PID...: and wait until they are gone. bash would report each "Killed": not to the user.
stop() {
  local signal=$1; shift
  { kill "-$signal" "$@" || true; } 2>/dev/null
  local pid left=()
  for pid in "$@"; do { wait "$pid" || true; } 2>/dev/null; done
  for pid in "${pids[@]}"; do [[ " $* " == *" $pid "* ]] || left+=("$pid"); done
  pids=(${left[@]+"${left[@]}"})
}

finish() {
  local code=$?
  trap - EXIT INT TERM HUP
  [ ${#pids[@]} -eq 0 ] || stop KILL "${pids[@]}"
  if [ -n "$dir" ]; then
    if [ $code -eq 0 ] && [ $keep = no ]; then
      rm -rf "$dir"
    else
      echo; echo "Logs, mails and the broker's data are kept in $dir"
    fi
  fi
  exit $code
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

fail() {
  echo "quickstart: $*" >&2
  exit 1
}

# wait_until SECONDS WHAT COMMAND...: until the command succeeds.
wait_until() {
  local deadline=$((SECONDS + $1)) what=$2; shift 2
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$deadline" ] || { tail -n 5 "$dir"/*.log >&2; fail "waited in vain until $what"; }
    sleep 0.05
  done
}

# ---- install and build -----------------------------------------------------------------------------
say "Installing what is missing"
tools/install_deps.sh build

say "Building a release into build/ (a few minutes the first time)"
log=$(mktemp)
if ! {
  { [ -f build/build.ninja ] ||
    meson setup build --buildtype=release -Dtests=false -Dbenchmarks=false; } && ninja -C build
} >"$log" 2>&1; then
  tail -n 40 "$log" >&2; rm -f "$log"
  fail "the build failed"
fi
rm -f "$log"
broker_program=$PWD/build/broker/jobq-broker
worker_program=$PWD/build/worker/jobq-worker
jobq=$PWD/build/cli/jobq
shop_files=$PWD/examples/shop

# ---- start -----------------------------------------------------------------------------------------
dir=$(mktemp -d /tmp/jobq-shop.XXXXXX)
# A port that is free now, below the range from which the system gives out ports to connecting programs: while the broker
# is down nobody can get it by chance.
port=$("$python" - <<'PY'
import random, socket
while True:
    port = random.SystemRandom().randrange(20000, 32000)
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            continue
    print(port)
    break
PY
)
export JOBQ_ENDPOINT=tcp://127.0.0.1:$port

start_broker() {
  start broker "$broker_program" --data "$dir/data" --listen "$JOBQ_ENDPOINT"
  broker=$started
}
broker_answers() { kill -0 "$broker" && "$jobq" stats; }
answered() { wc -l 2>/dev/null <"$dir/answers.jsonl" || echo 0; }
has_answered() { [ "$(answered)" -ge "$1" ]; }
all_done() {
  "$jobq" stats --json | "$python" -c '
import json, sys
queues = json.load(sys.stdin)["queues"]
sys.exit(any(queue["ready"] + queue["leased"] + queue["scheduled"] for queue in queues))'
}

say "Starting the mail server, the broker, the shop, two mail workers and the warehouse in $dir"
start mail-server "$python" "$shop_files/smtp_server.py" --port 0 --port-file "$dir/mail.port" \
  --received "$dir/received.jsonl" --mailboxes "$shop_files/mailboxes.json"
mail_server=$started
start_broker
wait_until 10 "the broker answers" broker_answers
# Mail servers that say "later" mean seconds here, not hours: try again soon.
"$jobq" queue set receipts backoff_min=300ms backoff_max=2s >/dev/null
"$jobq" queue set surveys backoff_min=300ms backoff_max=2s >/dev/null
# Two weeks, elsewhere.
start shop build/examples/shop_server --port 0 --port-file "$dir/shop.port" --survey-after 2
shop=$started
wait_until 10 "the mail server listens" test -s "$dir/mail.port"
wait_until 10 "the shop listens" test -s "$dir/shop.port"
workers=()
for _ in 1 2; do
  start worker build/examples/receipt_worker --mail-server "smtp://127.0.0.1:$(cat "$dir/mail.port")" --concurrency 4
  workers+=("$started")
done
mkdir "$dir/warehouse"
printf '%s\n' TEA-250 TEA-1000 POT-BLUE CUP-2 CUP-6 HONEY FILTER-100 >"$dir/warehouse/articles"  # and no SPOON
start warehouse "$worker_program" --queue stock --concurrency 4 --max-run 10s -- \
  "$shop_files/take_from_stock.sh" "$dir/warehouse"
workers+=("$started")
say "Before: jobq stats"
"$jobq" stats

# ---- a thousand orders, and the broker dies in the middle -------------------------------------------
say "Posting a thousand orders, 8 customers at a time (one order comes twice)"
start post-orders "$python" "$shop_files/post_orders.py" --shop "http://127.0.0.1:$(cat "$dir/shop.port")" \
  --orders "$shop_files/orders.jsonl" --answers "$dir/answers.jsonl" --parallel 8 --rate 200
poster=$started
wait_until 60 "400 orders are answered" has_answered 400
stop KILL "$broker"
killed_at=$(answered)
say "kill -9 of the broker after $killed_at answers; the orders go on coming"
sleep 1  # an outage that customers and workers notice
start_broker
wait_until 10 "the broker answers again" broker_answers
wait_until 30 "orders are answered again" has_answered $((killed_at + 100))
say "The broker is back, and so are shop and workers, by themselves. During: jobq stats"
"$jobq" stats
posted=yes
{ wait "$poster" || posted=no; } 2>/dev/null
[ $posted = yes ] || echo "some orders were not answered with 202 (see $dir/post-orders.log)"

say "All orders are posted; waiting until the last mail is sent or given up"
wait_until 60 "no job waits any more" all_done
say "After: jobq stats"
"$jobq" stats

# ---- the dead letters of the warehouse, as one would at three in the morning --------------------------
say "The warehouse has dead jobs. How many different problems is that? jobq dead summary stock"
"$jobq" dead summary stock
say "One article is missing in its list: put it there, count what a redrive would take, redrive"
echo SPOON >>"$dir/warehouse/articles"
"$jobq" dead redrive stock --error SPOON --dry-run
"$jobq" dead redrive stock --error SPOON
wait_until 60 "the redriven jobs are done" all_done
echo "  dead in 'stock' now: $("$jobq" dead ls stock --json | "$python" -c 'import json, sys; print(len(json.load(sys.stdin)["jobs"]))')"

# ---- what came of it --------------------------------------------------------------------------------
"$jobq" dead ls receipts --json >"$dir/dead.json"
"$jobq" stats --json >"$dir/stats.json"
stop TERM "${workers[@]}" "$shop"
stop TERM "$broker" "$mail_server"
say "What came of it (broker killed with -9 after $killed_at answers)"
"$python" "$shop_files/check_outcome.py" "$dir"
