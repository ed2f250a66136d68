DROP VIEW tidemark_reports_daily;
DROP VIEW tidemark_reports_models;
DROP VIEW tidemark_reports_products;
DROP VIEW tidemark_reports_records;
