"""A job that touches what most jobs touch, so that its classes are in the archive: RDDs, DataFrames, SQL, Parquet, Python."""
import sys

from pyspark.sql import SparkSession
from pyspark.sql import functions as f

folder = sys.argv[1]
text = f"file:{folder}/text"
spark = SparkSession.builder.appName("warm").getOrCreate()

words = spark.sparkContext.textFile(text).flatMap(str.split)
counts = words.map(lambda word: (word, 1)).reduceByKey(lambda a, b: a + b)
assert counts.count() > 0

lines = spark.read.text(text)
lines.select(f.explode(f.split("value", r"\s+")).alias("word")).groupBy("word").count().orderBy(f.desc("count")).show(3)

numbers = spark.range(1000).withColumn("group", f.col("id") % 7)
numbers.write.mode("overwrite").parquet(folder + "/numbers")
spark.read.parquet(folder + "/numbers").createOrReplaceTempView("numbers")
spark.sql("select a.group, sum(a.id), avg(b.id) from numbers a join numbers b on a.id = b.id group by a.group").collect()
assert spark.createDataFrame([(1, "a"), (2, "b")], ["number", "letter"]).filter("number > 1").count() == 1
twice = f.udf(lambda number: number * 2, "long")
assert numbers.select(twice("id").alias("id")).agg(f.sum("id")).first()[0] == 999000
spark.stop()
