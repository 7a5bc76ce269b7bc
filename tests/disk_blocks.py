#!/usr/bin/env python3
"""How many of a disk's 512 KiB blocks differ from those of an earlier one: disk_blocks.py EARLIER DISK

That is what an upload to a cloud's snapshot sends, when the earlier disk's is there. Prints JSON: differ (blocks that do and are not empty in DISK,
or were not), used (that are not empty in DISK).
"""
import json
import sys

BLOCK = 512 << 10


def main():
    differ = used = 0
    zero = bytes(BLOCK)
    with open(sys.argv[1], "rb") as earlier, open(sys.argv[2], "rb") as disk:
        while block := disk.read(BLOCK):
            used += block != zero[:len(block)]
            differ += block != earlier.read(BLOCK)
    print(json.dumps({"differ": differ, "used": used}))


main()
