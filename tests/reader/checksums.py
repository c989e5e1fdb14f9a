"""CRC32C and BLAKE3 in plain Python: what a reader of the journal needs and Debian has no package for.

BLAKE3 hashes many inputs at once: a word of every chunk lies in one big integer, 64 bits a lane, and Python's own
arithmetic does the rest. That makes some 20 MB/s of it, instead of 0.2.
"""

from array import array

CRC_TABLE = []
for _n in range(256):
    for _ in range(8):
        _n = _n >> 1 ^ 0x82F63B78 if _n & 1 else _n >> 1
    CRC_TABLE.append(_n)


def crc32c(data, before=0):
    """The CRC32C of `data` behind bytes whose CRC32C is `before`."""
    crc = before ^ 0xFFFFFFFF
    table = CRC_TABLE
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


_FROM_TOP = {entry >> 24: n for n, entry in enumerate(CRC_TABLE)}


def crc32c_backwards(data, after):
    """What stood before `data`, where the CRC32C behind it is `after`."""
    crc = after ^ 0xFFFFFFFF
    for byte in reversed(data):
        n = _FROM_TOP[crc >> 24]
        crc = ((crc ^ CRC_TABLE[n]) << 8 & 0xFFFFFFFF) | (n ^ byte)
    return crc ^ 0xFFFFFFFF


IV = (0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19)
PERMUTATION = (2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8)
COLUMNS = ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15),
           (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14))
CHUNK_START, CHUNK_END, PARENT, ROOT, KEYED = 1, 2, 4, 8, 16
CHUNK, BLOCK = 1024, 64

ORDERS = [tuple(range(16))]
for _ in range(6):
    ORDERS.append(tuple(ORDERS[-1][at] for at in PERMUTATION))


def _lanes(numbers):
    """One big integer of numbers of 32 bits, 64 bits a lane."""
    return int.from_bytes(array("Q", numbers).tobytes(), "little")


def _numbers(lanes, count):
    return array("Q", lanes.to_bytes(8 * count, "little"))


def _ones(count):
    return int.from_bytes(b"\1\0\0\0\0\0\0\0" * count, "little")


def _message(data):
    """The 16 words of blocks of 64 bytes that lie one behind the other."""
    words = array("I", data)
    return [_lanes(words[at::16]) for at in range(16)]


def _compress(cv, message, count, counter, length, flags):
    """The compression function in every lane; the chaining value is what comes out."""
    ones = _ones(count)
    mask = ones * 0xFFFFFFFF
    v = list(cv) + [ones * word for word in IV[:4]] + [counter, 0, length, flags]
    for order in ORDERS:
        at = 0
        for ia, ib, ic, id_ in COLUMNS:
            a, b, c, d = v[ia], v[ib], v[ic], v[id_]
            a = a + b + message[order[at]] & mask
            d ^= a
            d = (d >> 16 | d << 16) & mask
            c = c + d & mask
            b ^= c
            b = (b >> 12 | b << 20) & mask
            a = a + b + message[order[at + 1]] & mask
            d ^= a
            d = (d >> 8 | d << 24) & mask
            c = c + d & mask
            b ^= c
            b = (b >> 7 | b << 25) & mask
            v[ia], v[ib], v[ic], v[id_] = a, b, c, d
            at += 2
    return [v[n] ^ v[n + 8] for n in range(8)]


def _values(cv, count):
    """The chaining values of every lane, 32 bytes each."""
    words = [_numbers(word, count) for word in cv]
    flat = array("I", bytes(32 * count))
    for n in range(8):
        flat[n::8] = array("I", words[n])
    data = flat.tobytes()
    return [data[at:at + 32] for at in range(0, 32 * count, 32)]


def _chunks(chunks, key, keyed):
    """The chaining values of (place, data, is the whole input) each."""
    order = sorted(range(len(chunks)), key=lambda n: -max(len(chunks[n][1]), 1))
    blocks = [max(-(-len(chunks[n][1]) // BLOCK), 1) for n in order]
    result = [None] * len(chunks)
    count = len(order)
    cv = [_ones(count) * word for word in key]
    for step in range(16):
        ending = count
        while ending and blocks[ending - 1] == step + 1:
            ending -= 1
        start = step * BLOCK
        pieces, lengths, flags = [], [BLOCK] * count, [keyed | (CHUNK_START if step == 0 else 0)] * count
        for lane in range(count):
            pieces.append(chunks[order[lane]][1][start:start + BLOCK])
        for lane in range(ending, count):
            lengths[lane] = len(pieces[lane])
            pieces[lane] = bytes(pieces[lane]).ljust(BLOCK, b"\0")
            flags[lane] |= CHUNK_END | (ROOT if chunks[order[lane]][2] else 0)
        counter = _lanes([chunks[order[lane]][0] for lane in range(count)])
        cv = _compress(cv, _message(b"".join(pieces)), count, counter, _lanes(lengths), _lanes(flags))
        if ending < count:
            for lane, value in enumerate(_values(cv, count)[ending:], ending):
                result[order[lane]] = value
            count = ending
            if not count:
                break
            mask = (1 << 64 * count) - 1
            cv = [word & mask for word in cv]
    return result


def blake3_many(inputs, key=None):
    """The 32 bytes of BLAKE3 of every input, keyed with 32 bytes where there is a key."""
    words, keyed = (IV, 0) if key is None else (tuple(array("I", key)), KEYED)
    chunks, levels = [], []
    for data in inputs:
        data = memoryview(data)
        levels.append(max(-(-len(data) // CHUNK), 1))
        for place in range(levels[-1]):
            piece = data[place * CHUNK:(place + 1) * CHUNK]
            chunks.append((place, piece, levels[-1] == 1))
    if not chunks:
        return []
    values = iter(_chunks(chunks, words, keyed))
    levels = [[next(values) for _ in range(count)] for count in levels]
    while any(len(nodes) > 1 for nodes in levels):
        pairs, flags = [], []
        for nodes in levels:
            for at in range(0, len(nodes) - 1, 2):
                pairs.append(nodes[at] + nodes[at + 1])
                flags.append(keyed | PARENT | (ROOT if len(nodes) == 2 else 0))
        count = len(pairs)
        ones = _ones(count)
        cv = _compress([ones * word for word in words], _message(b"".join(pairs)), count, 0, ones * BLOCK, _lanes(flags))
        parents = iter(_values(cv, count))
        levels = [[next(parents) for _ in range(len(nodes) // 2)] + (nodes[-1:] if len(nodes) % 2 else [])
                  for nodes in levels]
    return [nodes[0] for nodes in levels]


def blake3(data, key=None):
    """The 32 bytes of BLAKE3."""
    return blake3_many([data], key)[0]


def _check():
    """The published test vectors that tell a wrong round, tree or key."""
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c_backwards(b"56789", crc32c(b"123456789")) == crc32c(b"1234")
    data = bytes(n % 251 for n in range(102400))
    key = b"whats the Elvish word for friend"
    for length, plain, with_key in (
        (0, "af1349b9f5f9a1a6a0404dea36dcc949", "92b2b75604ed3c761f9d6f62392c8a92"),
        (1, "2d3adedff11b61f14c886e35afa03673", "6d7878dfff2f485635d39013278ae14f"),
        (1024, "42214739f095a406f3fc83deb889744a", "75c46f6f3d9eb4f55ecaaee480db732e"),
        (1025, "d00278ae47eb27b34faecf67b4fe263f", "357dc55de0c7e382c900fd6e320acc04"),
        (2049, "5f4d72f40d7a5f82b15ca2b2e44b1de3", "9f29700902f7c86e514ddc4df1e3049f"),
        (102400, "bc3e3d41a1146b069abffad3c0d44860", "1c35d1a5811083fd7119f5d5d1ba027b"),
    ):
        assert blake3(data[:length]).hex().startswith(plain), length
        assert blake3(data[:length], key).hex().startswith(with_key), length


if __name__ == "__main__":
    _check()
