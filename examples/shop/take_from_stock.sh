#!/bin/sh
# The warehouse: takes what an order needs from stock. jobq-worker runs it for every job of the queue "stock":
#
#   jobq-worker --queue stock --concurrency 4 --max-run 10s -- examples/shop/take_from_stock.sh DIRECTORY
#
# On stdin a line per article, "SKU QUANTITY"; the order's number is the job's header "order". DIRECTORY/articles lists the articles that
# the warehouse knows. What was taken for an order is the file DIRECTORY/taken/ORDER: however often the job runs, the file is
# there once, and all of it or nothing.
set -eu
directory=$1
order=$JOBQ_HEADER_ORDER
[ ! -e "$directory/taken/$order" ] || exit 0  # an earlier attempt came so far
[ -d "$directory/taken" ] || mkdir -p "$directory/taken"

articles=
while read -r sku; do articles="$articles $sku "; done <"$directory/articles"
list=$directory/taken/.$JOBQ_JOB_ID
while read -r sku quantity || [ -n "$sku" ]; do  # also a last line without an end
  case $articles in
    *" $sku "*) echo "$sku $quantity" ;;
    *)
      rm -f "$list"
      echo "no article $sku in the warehouse's list" >&2
      exit 65 ;;  # trying again is of no use before somebody has looked: dead, with these words
  esac
done >"$list"
mv "$list" "$directory/taken/$order"
