"""Minutes of computing for bench/run: numbers made, hashed, grouped and sorted. No input, and nothing to wait for but processors."""
import sys

from pyspark.sql import SparkSession

session = SparkSession.builder.appName("compute").getOrCreate()
numbers = session.range(0, int(sys.argv[1]), 1, 64).selectExpr("id % 1000 AS key", "sqrt(id) * sin(id) AS x", "hash(id) AS h")
groups = numbers.groupBy("key").agg({"x": "sum", "h": "max"}).orderBy("key").collect()
assert len(groups) == 1000, len(groups)
