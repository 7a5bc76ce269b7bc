# Runs on a node, after a line `WORDS = […]`: looks for these words in every file, and in every process's environment and words.
# It comes by standard input and is on no disk.
import mmap
import os
import stat

mine = {os.getpid(), os.getppid()}
words = {word: word.encode() for word in WORDS}  # noqa: F821
files = processes = 0


def tell(content, place):
    for word, needle in words.items():
        if content.find(needle) >= 0:
            print(f"{word}: {place}")


for folder, folders, names in os.walk("/"):
    folders[:] = [name for name in folders if os.path.join(folder, name) not in ("/proc", "/sys", "/dev")]
    for name in names:
        path = os.path.join(folder, name)
        try:
            facts = os.lstat(path)
            if not stat.S_ISREG(facts.st_mode) or facts.st_size == 0:
                continue
            with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as content:
                files += 1
                tell(content, path)
        except (OSError, ValueError):
            continue
for pid in os.listdir("/proc"):
    if not pid.isdigit() or int(pid) in mine:
        continue
    processes += 1
    for kind in ("environ", "cmdline"):
        try:
            with open(f"/proc/{pid}/{kind}", "rb") as file:
                tell(file.read(), f"/proc/{pid}/{kind}")
        except OSError:
            continue
print(f"searched {files} files, {processes} processes")
