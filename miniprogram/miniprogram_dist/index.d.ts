export * from './wxlogin';
