-- Tables with a time column become hypertables where TimescaleDB is.
DO $tidemark$
BEGIN
    IF EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extname = 'timescaledb') THEN
        PERFORM create_hypertable('"shrinkage"."calculation_data"', 'calculation_date', chunk_time_interval => INTERVAL '7 days', create_default_indexes => false);
        PERFORM create_hypertable('"shrinkage"."coefficients"', 'calculation_date', chunk_time_interval => INTERVAL '7 days', create_default_indexes => false);
        PERFORM create_hypertable('"shrinkage"."forecasts"', 'forecast_date', chunk_time_interval => INTERVAL '7 days', create_default_indexes => false);
        PERFORM create_hypertable('"shrinkage"."preliminary_forecasts"', 'forecast_date', chunk_time_interval => INTERVAL '7 days', create_default_indexes => false);
        PERFORM create_hypertable('"shrinkage"."data_lineage"', 'process_timestamp', chunk_time_interval => INTERVAL '7 days', create_default_indexes => false);
    END IF;
END
$tidemark$;
