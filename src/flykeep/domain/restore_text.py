"""RESTORE.md: how to get everything back without flykeep. Written into every store, beside the artifacts."""

from __future__ import annotations

RESTORE_TEXT = """\
# How to restore these backups without flykeep

You need this store, `age`, `zstd`, `tar`, a POSIX shell, and the age identity (secret key) whose public key stands
under `recipients` in the manifest. flykeep itself is not needed. `jq` and `openssl` are needed only for the checks.

## What lies here

```text
<app>/<volume name>/<year>/<export id>/manifest.json          what this artifact is; without it, it does not exist
                                      /data.tar.zst.age       the files: tar, compressed by zstd, encrypted by age
                                      /data.tar.zst.age.00001 the same in parts, where it was too large for one object
                                      /index.jsonl.zst.age    a list of the files, one JSON object a line
_runbooks/<app>.md.zst.age                                how to rebuild the whole app by hand, if it is gone
```

Names end in `.zst` instead of `.zst.age` where `"encryption"` in the manifest is `"none"`. Export ids sort by time: the
last one of the last year is the newest. Read in the manifest: `started_at`, `outcome` (`degraded` names files that
changed while they were read), `consistency`, `lost` and `skipped`.

## 1. Fetch one artifact

Copy the artifact's folder to this machine with whatever tool reads your store (`aws s3 cp --recursive`,
`rclone copy`, `cp -r`), and go into it:

```text
cd <app>/<volume name>/<year>/<export id>
```

## 2. Check that the bytes are the ones that were stored

```sh check-bytes
jq -r '(.data + [.index])[] | .sha256 + "  " + (.key | split("/") | last)' manifest.json | sha256sum -c -
```

Without `jq`: run `sha256sum` on the files and compare with the manifest by eye.

## 3. Check who wrote it

Anybody who can write to this store could have put an artifact here: age does not tell who encrypted. The manifest is
signed. First compare `public_key` with the one you know as yours, from a place other than this store (on the daemon's
volume: `openssl pkey -in keys/signing.key -noout -text`). Then check the signature over the rest of the document:

```sh check-signature
jq -jcS 'del(.signature)' manifest.json > signed-bytes
jq -r '.signature.signature' manifest.json | xxd -r -p > signature
printf '302a300506032b6570032100%s' "$(jq -r '.signature.public_key' manifest.json)" | xxd -r -p > signer.der
openssl pkeyutl -verify -pubin -keyform DER -inkey signer.der -rawin -in signed-bytes -sigfile signature
```

It says `Signature Verified Successfully` (OpenSSL 3). jq before 1.8 spells the rare character U+007F differently.

## 4. Restore into a new, empty folder

Never over files that are still there: `tar` overwrites. Put the identity into a file, here `identity.txt`, or tell
where it is, and say where the files shall go:

```sh names
: "${IDENTITY:=identity.txt}" "${TARGET:=restored}"
mkdir -p "$TARGET"
```

Encrypted (the pattern joins the parts, where there are parts, in the right order):

```sh restore
cat data.tar.zst.age* | age -d -i "$IDENTITY" | zstd -dc | tar -xpf - -C "$TARGET"
```

Not encrypted:

```sh restore-plain
cat data.tar.zst* | zstd -dc | tar -xpf - -C "$TARGET"
```

As root this restores owners too; add `--numeric-owner` (GNU tar), since the names of users differ between machines. To
get single files, name them after `"$TARGET"` as the index does, with `./` before: `... -C "$TARGET" ./some/file`.

A pipe hides the failure of its first commands. To be certain that nothing is missing, compare the whole tar:

```sh check-tar
cat data.tar.zst.age* | age -d -i "$IDENTITY" | zstd -dc | sha256sum | cut -d ' ' -f 1
jq -r '.totals.tar_sha256' manifest.json
```

Both lines must be the same. Not encrypted: leave `age` out.

## 5. Look for a file before restoring

```sh list
age -d -i "$IDENTITY" index.jsonl.zst.age | zstd -dc
```

The first line describes the index itself. Paths that are not UTF-8 stand as base64 under `path_b64`.

## 6. Put the files into a Fly volume

```text
fly ssh console -a <app> -C "mkdir -p /data/restored"
tar -cf - -C restored . | fly ssh console -a <app> -C "tar -xpf - -C /data/restored"
```

Stop whatever writes there, move the files into place, start it again. Where this artifact says `"consistency": "live"`
and names `open_databases`, check each SQLite database with `PRAGMA integrity_check` before you trust it.

## 7. The app itself is gone

Its runbook lies in this store: a page of commands from top to bottom, with the app's own ids, sizes and machines filled
in. Fetch `_runbooks/<app>.md.zst.age`, and say here which app:

```sh open-runbook
: "${IDENTITY:=identity.txt}" "${APP:=app}"
age -d -i "$IDENTITY" "$APP.md.zst.age" | zstd -dc > "$APP.md"
```

Not encrypted: `zstd -dc "$APP.md.zst" > "$APP.md"`.

It tells you to run commands: make sure that flykeep wrote it. Its last line holds the signature over all lines before
it, and the public key, which you compare as in step 3.

```sh check-runbook
sed '$d' "$APP.md" > signed-bytes
tail -n 1 "$APP.md" | sed 's/.*signature \\([0-9a-f]*\\) .*/\\1/' | xxd -r -p > signature
printf '302a300506032b6570032100%s' "$(tail -n 1 "$APP.md" | sed 's/.*signed by \\([0-9a-f]*\\),.*/\\1/')" |
  xxd -r -p > signer.der
openssl pkeyutl -verify -pubin -keyform DER -inkey signer.der -rawin -in signed-bytes -sigfile signature
```

It says `Signature Verified Successfully`. Then follow the page.

The page shows the app as it was seen last. If that was when it was half gone already, take an earlier one: under
`_runbooks/<app>/` lie those of days on which machines had vanished, one a day, named by the day.
"""
