"""The bus on Kafka, through aiokafka. Nothing here is imported unless `bus.kind` is kafka."""
