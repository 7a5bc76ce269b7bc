"""Counts the words of text files: `kiln submit NAME examples/wordcount.py file:///data/TEXT`.

Prints a line `COUNT WORD` a word, most frequent first; words are what blanks separate, as `tr -s '[:space:]' '\n'` cuts them.
"""
import sys

from pyspark.sql import SparkSession


def main():
    if len(sys.argv) < 2:
        sys.exit("usage: wordcount.py URL…")
    spark = SparkSession.builder.appName("word count").getOrCreate()
    lines = spark.sparkContext.textFile(",".join(sys.argv[1:]))
    counts = lines.flatMap(str.split).map(lambda word: (word, 1)).reduceByKey(lambda a, b: a + b)
    for word, count in sorted(counts.collect(), key=lambda pair: (-pair[1], pair[0])):
        print(count, word)
    spark.stop()


main()
