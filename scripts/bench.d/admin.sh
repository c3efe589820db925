# shellcheck shell=bash
# What the operator's page costs, and what guessing keys does.
# Sourced by scripts/bench, whose variables it uses.
# shellcheck disable=SC2034,SC2154

# A picture that is small, so that many streams of it cost little beside what is looked at, and whose bit rate changes every
# few seconds, so that their rows in the list do.
make_small_clip() {
  [ -s "$small_clip" ] && return 0
  ffmpeg -v error -f lavfi -i "testsrc2=size=160x90:rate=10,noise=alls=40:allf=t:enable='lt(mod(t,6),3)'" \
    -f lavfi -i sine=frequency=440:sample_rate=48000 -t 20 \
    -c:v libx264 -preset veryfast -pix_fmt yuv420p -bf 0 -g 20 -keyint_min 20 -sc_threshold 0 -crf 32 -maxrate 400k -bufsize 400k \
    -c:a aac -b:a 32k -ac 1 -f flv -y "$small_clip.part"
  mv "$small_clip.part" "$small_clip"
}

# --- admin --------------------------------------------------------------------------------------------------------

bench_admin() {
  local round listeners ramp=10 fill=8 token=a-token-for-the-bench
  small_clip=$bench/clip-90p10-changing.flv
  make_small_clip
  start_headwater --hls-window 6s --hub-max-streams "$((admin_streams + 10))" --admin-token "$token"
  start ingest "$load" publish --json --url "rtmp://127.0.0.1:$hw_rtmp/live" --name 'load-%d' --streams "$admin_streams" \
    --file "$small_clip" --ramp "$ramp" --seconds $((ramp + fill + rounds * 2 * (each + 5) + 10))
  local publishing=$started_pid
  sleep $((ramp + fill))
  for round in $(seq "$rounds"); do
    for listeners in 0 5; do
      python3 "$here/listen.py" "$hw" "$hw_admin" "$token" "$listeners" "$each" >"$work/listen-$listeners.json" ||
        fail "listeners: $(cat "$work/listen-$listeners.json")"
    done
    record admin "$admin_streams streams: CPU, nobody listens" headwater "$(field "$work/listen-0.json" cpu_percent)" '% of a core'
    record admin "$admin_streams streams: CPU, 5 listeners" headwater "$(field "$work/listen-5.json" cpu_percent)" '% of a core'
    record admin 'difference' headwater \
      "$(calculate "$(field "$work/listen-5.json" cpu_percent) - $(field "$work/listen-0.json" cpu_percent)")" '% of a core'
    record admin "the look at all streams, each second" headwater "$(field "$work/listen-5.json" look_percent)" '% of a core'
    record admin "the listeners' thread" headwater "$(field "$work/listen-5.json" thread_percent)" '% of a core'
    record admin 'both: what the live page takes' headwater \
      "$(calculate "$(field "$work/listen-5.json" look_percent) + $(field "$work/listen-5.json" thread_percent)")" '% of a core'
    record admin 'to each listener' headwater \
      "$(calculate "$(field "$work/listen-5.json" bytes_per_second 0) / 1024")" KiB/s
  done
  wait "$publishing" || fail "publishing failed: $(cat "$work/ingest.log")"
  [ "$(field "$work/ingest.log" alive_at_end)" = "$admin_streams" ] ||
    say "   only $(field "$work/ingest.log" alive_at_end) of $admin_streams streams lasted: $(field "$work/ingest.log" failures)"
  stop_all
}

# --- access -------------------------------------------------------------------------------------------------------

bench_access() {
  local before after key=a-key-for-the-bench
  printf '[[access.keys]]\nstream = "*"\nsecret = "%s"\n' "$key" >"$work/headwater.toml"
  start_headwater --config "$work/headwater.toml" --hub-reconnect-window 1s
  # What the first ones leave behind is not what the others do.
  python3 "$here/guess.py" "$hw_rtmp" "$key" 100 >"$work/guess.json" || fail "guesses: $(cat "$work/guess.json")"
  before=$(rss "$hw")
  python3 "$here/guess.py" "$hw_rtmp" "$key" "$guesses" >"$work/guess.json" || fail "guesses: $(cat "$work/guess.json")"
  after=$(rss "$hw")
  record access "$guesses wrong keys of one address" headwater "$(field "$work/guess.json" seconds)" s
  record access 'refused' headwater "$(field "$work/guess.json" answers refused)" ''
  record access 'log lines about it' headwater "$(grep -c refused "$work/headwater.log" || true)" ''
  record access 'memory before' headwater "$(calculate "$before / 1024")" MiB
  record access 'memory after' headwater "$(calculate "$after / 1024")" MiB
  record access 'another address publishes, alone' headwater "$(field "$work/guess.json" alone_ms)" ms
  record access 'another address publishes, meanwhile' headwater "$(field "$work/guess.json" beside_ms)" ms
  record access 'another address publishes, worst' headwater "$(field "$work/guess.json" beside_worst_ms)" ms
  record access 'another address refused' headwater "$(field "$work/guess.json" others_refused)" ''
  stop_all
}
