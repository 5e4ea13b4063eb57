#!/usr/bin/env python3
"""Verifies a trail by docs/audit.md alone: no code of the gateway, nothing but the standard library.

    verify_trail.py TRAIL SIGNING.PUB [WITNESS ...]

Prints `intact LAST` or `first_bad SEQUENCE`. Left out: removed segments, and sectors that a crash left unwritten."""
import base64, hashlib, json, os, re, sys

P, L = 2**255 - 19, 2**252 + 27742317777372353535851937790883648493  # Ed25519: RFC 8032
D, I = -121665 * pow(121666, -1, P) % P, pow(2, (P - 1) // 4, P)
def point(encoded):
    y = int.from_bytes(encoded, "little") & 2**255 - 1
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = next((x for x in (pow(square, (P + 3) // 8, P) * i % P for i in (1, I)) if (x * x - square) % P == 0))
    return (x if x & 1 == encoded[31] >> 7 else P - x), y
def add(p, q):
    (a, b), (c, d), t = p, q, D * p[0] * q[0] * p[1] * q[1]
    return (a * d + c * b) * pow(1 + t, -1, P) % P, (b * d + a * c) * pow(1 - t, -1, P) % P
def times(k, p):
    half = times(k >> 1, add(p, p)) if k else (0, 1)
    return add(half, p) if k & 1 else half
def is_signed(key, text, signature):
    r, s, k = signature[:32], int.from_bytes(signature[32:], "little"), hashlib.sha512(signature[:32] + key + text).digest()
    try: return s < L and times(s, point(bytes([0x58] + [0x66] * 31))) == add(point(r), times(int.from_bytes(k, "little"), point(key)))
    except StopIteration: return False

sha = lambda *parts: hashlib.sha256(b"".join(parts)).digest()
number = lambda data: int.from_bytes(data, "big")
def tree(leaves):  # RFC 6962, section 2.1; without its prefix where there is but one leaf
    split = 1 << (len(leaves) - 1).bit_length() >> 1
    return leaves[0] if len(leaves) == 1 else sha(b"\1", tree(leaves[:split]), tree(leaves[split:]))
said = lambda leaves: {"size": len(leaves), "root": tree(leaves).hex()}
def frame(data, at):  # the bytes of a frame without its chain value, and that
    end = at + number(data[at:at + 4]) + 4
    return (data[at:end - 32], data[end - 32:end]) if at + 45 <= end <= min(len(data), at + 2**20 + 61) else (b"", b"")

def walk(name, data, wanted):
    version, at = number(data[8:12]), 48 + number(data[12:16])
    h, domain, v2 = json.loads(data[16:at - 32]), b"/v%d\0" % version, version == 2
    p, loss = h["previous"], h.get("accepted_loss") or {"from": h["previous"]["sequence"] + 1, "to": -1}
    if not all(type(n) is int and -1 <= n < 2**64 for n in (h["number"], h["first"], p["sequence"], loss["from"], loss["to"])): raise ValueError
    leaf = lambda data: sha(b"\0", data) if v2 else data
    chain = lambda before, data: sha(b"chartgate/audit/frame" + domain, before, leaf(data))
    head, last, leaves, sealed, flaw, met = data[at - 32:at], max(h["first"] - 1, 0), [leaf(data[:at - 32])], False, False, set()
    start = sha(b"chartgate/audit/segment-start" + domain, bytes.fromhex(p["head"]), leaves[0])
    if (data[:8], version in (1, 2), start, name) != (b"CGSEGMNT", True, head, "%020d-%s.cgseg" % (h["first"], h["segment"])):
        raise ValueError
    while True:
        met |= {n for n in wanted if n[:3] == (last, head, h["segment"]) and n[3] in ("", str(said(leaves)))}
        if sealed or number(data[at:at + 4]) == 0: break
        body, value = frame(data, at)
        sealed, sequence = body[4:5] == b"\3", number(body[5:13])
        flaw = not body or body[4] not in (1, 3) or sequence != last + (not sealed) or chain(head, body) != value
        if sealed and not flaw:
            try: stated = json.loads(body[13:])
            except ValueError: stated = None
            flaw = type(stated) is not dict or (stated.get("records"), stated.get("tree")) != (last + 1 - h["first"], said(leaves) if v2 else None)
        if flaw: break
        leaves += [] if sealed else [leaf(body)]
        head, last, at = value, sequence, at + len(body) + 32
    rest, left = data[at:].rstrip(b"\0"), 2**26
    torn = flaw and len(rest) <= 5 * 2**20 + 61  # what a crash leaves has no whole frame behind it, and less than 64 MiB to hash
    for i in range(at + 32, at + len(rest)) if torn else ():
        body, value = frame(data, i)
        if body and last <= number(body[5:13]) <= last + 2**23:
            left -= len(body)
            torn = torn and left >= 0 and chain(data[i - 32:i], body) != value
            if not torn: break
    stated = (h["number"] - 1, p["segment"], p["sequence"], bytes.fromhex(p["head"]), p.get("tree"), True)
    ended = (h["number"], h["segment"], last, head, said(leaves) if v2 else None, at == len(data))
    return h["number"], h["first"], stated, ended, loss, flaw, torn, bool(rest), sealed and not flaw, met

def opened(text, lines, name, key):  # a checkpoint: False where it is not believed, an error where it is no whole note
    for line in lines[:-1].split("\n"):
        _, signer, blob = line.split(" ", 2)
        blob = base64.b64decode(blob, validate=True)
        if (signer, blob[:4]) != (name, sha(name.encode(), b"\n", key)[:4]): continue
        if len(blob) != 68 or "\0" in text + lines: raise ValueError
        if not is_signed(key[1:], text.encode(), blob[4:]): return False
        line = text.split("\n")
        fields = dict(line.split(" ", 1) for line in line[3:-1])
        t = fields.get("tree", "").split()
        t = t and str({"size": int(t[0]), "root": base64.b64decode(t[1], validate=True).hex()}) or ""
        if line[0] != name: raise ValueError
        return int(line[1]), base64.b64decode(line[2], validate=True), fields["segment"], t
    return False

def verify(trail, key_text, texts):
    name, _, key = key_text.strip().split("+", 2)
    key, bad, broken, wanted, found, losses, signed, closed = base64.b64decode(key), [], [], set(), set(), [], 0, set()
    for holder, text in enumerate(texts):
        before = 0
        for text, lines in re.findall("((?:[^\n]+\n)+)\n((?:\u2014 [^\n]+\n)+)", text):
            try: note = opened(text, lines, name, key)
            except (ValueError, KeyError, IndexError): continue  # what a crash left of one
            if note: wanted, before = wanted | {note + (holder,)}, note[0]
            else: bad.append(before + 1)
    segments, before, last = [], (0, "00000000-0000-0000-0000-000000000000", 0, bytes(32), None, True), 0
    for file in sorted(f for f in os.listdir(trail + "/segments") if f.endswith(".cgseg")):
        try: segments.append(walk(file, open(trail + "/segments/" + file, "rb").read(), wanted))
        except (ValueError, KeyError, TypeError, AttributeError, IndexError):
            broken.append(int(file.split("-")[0]) if file.split("-")[0].isdigit() else 0)
    for place, first, stated, ended, loss, flaw, torn, rest, sealed, met in sorted(segments, key=lambda s: s[0]):
        newest, end, lost = place == max(s[0] for s in segments), ended[2], loss["to"] >= 0
        if place > before[0] + 1: broken.append(before[2] + 1)
        elif stated != before or first != max(stated[2], loss["to"]) + 1: broken.append(min(before[2] + 1, first))
        if lost and not (loss["from"] == stated[2] + 1 and stated[2] <= loss["to"] == first - 1): broken.append(min(stated[2] + 1, first))
        elif lost: losses.append((loss["from"], loss["to"], stated[1], str(stated[4])))
        proven = any(n[2] == ended[1] and n[0] > end for n in wanted - met)
        if flaw and not (newest and torn and not proven) or newest and sealed and rest: broken.append(end + 1)
        found, closed, before = found | met, closed | ({ended[1]} if sealed else set()), ended
        signed, last = len(losses) if met else signed, last if min(broken, default=end + 1) <= end else end
    there = {s[3][1] for s in segments}
    for n in wanted - found:  # a loss explains what it says where a signed checkpoint behind it vouches for the header
        at_end = lambda segment, tree: n[3] in ("", tree) if n[2] == segment else n[2] not in there
        if any(a <= n[0] <= b or n[0] == a - 1 and at_end(segment, tree) for a, b, segment, tree in losses[:signed]): continue
        if broken and min(broken) <= n[0] + 1: continue
        if n[0] > last or n[0] == last and n[2] not in closed: bad.append(last + 1)
        else: bad.append(max([f[0] for f in found if f[4] == n[4] and f[0] <= n[0]], default=0) + 1)
    return min(bad + broken, default=None), last

if __name__ == "__main__":
    read = lambda path: open(path, encoding="utf-8", errors="replace", newline="\n").read() if os.path.exists(path) else ""
    found, last = verify(sys.argv[1], read(sys.argv[2]), [read(path) for path in [sys.argv[1] + "/checkpoints"] + sys.argv[3:]])
    sys.exit(print("intact %d" % last if found is None else "first_bad %d" % found) or int(found is not None))
